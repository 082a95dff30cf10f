/* LD_PRELOAD: records, in one ordered log, what a process asks of the files under a folder and what it sends on sockets.
 *
 *   SHIM_DIR   only files under this folder are recorded (not SQLite's -shm, which is rebuilt after a crash)
 *   SHIM_LOG   the log; opened for appending, one writev for each record, so that threads and processes never tear one
 *
 * A record is a line "OP PATH NUMBER LENGTH THREAD", then LENGTH bytes:
 *
 *   W  a write at offset NUMBER, recorded before it is made
 *   T  a truncation to NUMBER bytes, before it is made (also by O_TRUNC)
 *   B  a sync of PATH begins; E: it ended well. Only what was written before B is durable after E
 *   R  PATH was renamed to the LENGTH bytes that follow
 *   U  PATH was removed
 *   N  LENGTH bytes are about to be sent on socket NUMBER; PATH is "-", and the bytes are not recorded
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(result, name, ...)                                    \
    static result (*next)(__VA_ARGS__);                            \
    if (!next) next = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int log_fd = -1;
static const char *folder;

__attribute__((constructor)) static void start(void) {
    folder = getenv("SHIM_DIR");
    const char *path = getenv("SHIM_LOG");
    if (folder && path) log_fd = syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
}

static int inside(const char *path) {
    size_t length = strlen(path);
    if (log_fd < 0 || strncmp(path, folder, strlen(folder))) return 0;
    return length < 4 || strcmp(path + length - 4, "-shm");
}

/* The path of a descriptor, if it is one of ours. */
static int ours(int fd, char *path) {
    char link[64];
    if (log_fd < 0 || fd == log_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return inside(path);
}

static void record(char op, const char *path, long long number, const void *data, size_t length) {
    char head[PATH_MAX + 128];
    int saved = errno;
    int size = snprintf(head, sizeof head, "%c %s %lld %zu %ld\n", op, path, number, data ? length : 0, (long)syscall(SYS_gettid));
    struct iovec parts[2] = {{head, (size_t)size}, {(void *)data, data ? length : 0}};
    if (syscall(SYS_writev, log_fd, parts, 2) < 0) abort();
    errno = saved;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    NEXT(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    char path[PATH_MAX];
    if (ours(fd, path)) record('W', path, offset, data, length);
    return next(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

static int is_socket(int fd) {
    struct stat status;
    int saved = errno;
    int is = log_fd >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    errno = saved;
    return is;
}

static void written(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    if (ours(fd, path)) {
        int append = fcntl(fd, F_GETFL) & O_APPEND;
        struct stat status;
        long long at = append && fstat(fd, &status) == 0 ? status.st_size : lseek(fd, 0, SEEK_CUR);
        record('W', path, at, data, length);
    } else if (is_socket(fd)) {
        record('N', "-", fd, NULL, length);
    }
}

ssize_t write(int fd, const void *data, size_t length) {
    NEXT(ssize_t, "write", int, const void *, size_t);
    written(fd, data, length);
    return next(fd, data, length);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    NEXT(ssize_t, "writev", int, const struct iovec *, int);
    char path[PATH_MAX];
    if (ours(fd, path)) abort(); /* nothing writes a database like this; replay could not tell the offsets */
    if (is_socket(fd)) record('N', "-", fd, NULL, 0);
    return next(fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    NEXT(ssize_t, "send", int, const void *, size_t, int);
    if (log_fd >= 0) record('N', "-", fd, NULL, length);
    return next(fd, data, length, flags);
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    NEXT(ssize_t, "sendto", int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (log_fd >= 0) record('N', "-", fd, NULL, length);
    return next(fd, data, length, flags, to, size);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    NEXT(ssize_t, "sendmsg", int, const struct msghdr *, int);
    if (log_fd >= 0) record('N', "-", fd, NULL, 0);
    return next(fd, message, flags);
}

static int synced(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    if (!ours(fd, path)) return sync(fd);
    record('B', path, 0, NULL, 0);
    int result = sync(fd);
    if (result == 0) record('E', path, 0, NULL, 0);
    return result;
}

int fdatasync(int fd) {
    NEXT(int, "fdatasync", int);
    return synced(fd, next);
}

int fsync(int fd) {
    NEXT(int, "fsync", int);
    return synced(fd, next);
}

int ftruncate64(int fd, off64_t size) {
    NEXT(int, "ftruncate64", int, off64_t);
    char path[PATH_MAX];
    if (ours(fd, path)) record('T', path, size, NULL, 0);
    return next(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int open64(const char *path, int flags, ...) {
    NEXT(int, "open64", const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_TRUNC && inside(path)) record('T', path, 0, NULL, 0);
    return next(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    NEXT(int, "open", const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_TRUNC && inside(path)) record('T', path, 0, NULL, 0);
    return next(path, flags, mode);
}

int rename(const char *from, const char *to) {
    NEXT(int, "rename", const char *, const char *);
    if (inside(from)) record('R', from, 0, to, strlen(to));
    return next(from, to);
}

int unlink(const char *path) {
    NEXT(int, "unlink", const char *);
    if (inside(path)) record('U', path, 0, NULL, 0);
    return next(path);
}
