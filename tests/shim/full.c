/* LD_PRELOAD: while the file named by SHIM_FAULT exists, the disk under SQLite's files is full, but for the room that `audit.reserve` beside them
   took: without that file there is some. If the file says "all", there is none at all. */
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

static int full(int fd) {
    char link[64], path[PATH_MAX], said[4] = "";
    const char *trigger = getenv("SHIM_FAULT");
    int fault = trigger ? open(trigger, O_RDONLY | O_CLOEXEC) : -1;
    if (fault < 0) return 0;
    if (read(fault, said, 3) < 0) said[0] = 0;
    close(fault);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    char *name = strstr(path, "leasehold.db");
    if (!name) return 0;
    strcpy(name, "audit.reserve");
    return !strcmp(said, "all") || !access(path, F_OK);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (full(fd)) return errno = ENOSPC, -1;
    return next(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }
