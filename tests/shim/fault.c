/* LD_PRELOAD: while the file named by SHIM_FAULT exists, the next sync of a file whose name ends in "-wal" removes it and fails.
 *
 * What the file holds may bind the fault to one commit:
 *
 *   sync:TEXT    the sync that fails is the first after a write with TEXT in it, by the same thread
 *   write:TEXT   already that write fails, and nothing of it is made
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static __thread int met;

static int is_log(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length >= 4 && !strncmp(path + length - 4, "-wal", 4);
}

/* What is to fail; NULL: nothing. */
static const char *wish(void) {
    static __thread char text[256];
    const char *trigger = getenv("SHIM_FAULT");
    int saved = errno, fd = trigger ? open(trigger, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    errno = saved;
    if (length < 0) return NULL;
    text[length] = 0;
    return text;
}

static int fails(void) {
    int saved = errno;
    if (unlink(getenv("SHIM_FAULT"))) return errno = saved, 0;
    errno = EIO;
    return 1;
}

static int sync_fails(int fd) {
    const char *what = is_log(fd) ? wish() : NULL;
    return what && (!*what || met) && fails();
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    const char *what = is_log(fd) ? wish() : NULL, *text = what ? strchr(what, ':') : NULL;
    if (text && memmem(data, length, text + 1, strlen(text + 1))) {
        if (*what == 'w' && fails()) return -1;
        met = 1;
    }
    return next(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return sync_fails(fd) ? -1 : next(fd);
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return sync_fails(fd) ? -1 : next(fd);
}
