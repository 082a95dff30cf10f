/* LD_PRELOAD: while the file named by SHIM_FAULT exists, the next sync of a file whose name ends in "-wal" removes it and fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    char link[64], path[PATH_MAX];
    const char *trigger = getenv("SHIM_FAULT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!trigger || length < 4 || strncmp(path + length - 4, "-wal", 4) || unlink(trigger)) return 0;
    errno = EIO;
    return 1;
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : next(fd);
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : next(fd);
}
