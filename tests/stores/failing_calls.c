/* Fails system calls on files of one folder; preloaded by test_local_store_failing_calls.py.

Calls are counted from `arm` on. In mode ONCE one call fails; in the other modes all calls that need
space (SPACE) or a new descriptor (DESCRIPTORS) fail from then on, until `disarm`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum mode { ONCE, SPACE, DESCRIPTORS };
enum kind { OPEN, CREATE, READ, WRITE, SYNC, MAP, LOOK, LOCK, CHANGE };

static char folder[4096];
static enum mode mode;
static long first, counted;
static int armed;

void arm(const char *path, int how, long number) {
    strncpy(folder, path, sizeof folder - 1);
    mode = how, first = number, counted = 0, armed = 1;
}

long disarm(void) {
    armed = 0;
    return counted;
}

static int fails(enum kind kind) {
    static const int codes[] = {EMFILE, ENOSPC, EIO, ENOSPC, EIO, ENOMEM, EIO, ENOLCK, EIO};
    counted++;
    if (mode == ONCE ? counted != first : counted < first) return 0;
    if (mode == SPACE && kind != CREATE && kind != WRITE) return 0;
    if (mode == DESCRIPTORS && kind != OPEN && kind != CREATE) return 0;
    errno = mode == DESCRIPTORS ? EMFILE : codes[kind];
    return 1;
}

static int path_fails(const char *path, enum kind kind) {
    return armed && path && strstr(path, folder) && fails(kind);
}

static int file_fails(int file, enum kind kind) {
    char link[64], path[4096];
    if (!armed || file < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return path_fails(path, kind);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENING(name)                                                                   \
    int name(const char *path, int flags, ...) {                                        \
        va_list rest;                                                                   \
        va_start(rest, flags);                                                          \
        int rights = va_arg(rest, int);                                                 \
        va_end(rest);                                                                   \
        if (path_fails(path, flags & O_CREAT && access(path, F_OK) ? CREATE : OPEN)) return -1;               \
        return NEXT(name)(path, flags, rights);                                         \
    }
OPENING(open)
OPENING(open64)

#define ON_FILE(result, name, kind, declared, given)                                    \
    result name declared {                                                              \
        if (file_fails(file, kind)) return (result)-1;                                  \
        return NEXT(name) given;                                                        \
    }
ON_FILE(ssize_t, read, READ, (int file, void *data, size_t size), (file, data, size))
ON_FILE(ssize_t, pread64, READ, (int file, void *data, size_t size, off64_t at), (file, data, size, at))
ON_FILE(ssize_t, write, WRITE, (int file, const void *data, size_t size), (file, data, size))
ON_FILE(ssize_t, pwrite64, WRITE, (int file, const void *data, size_t size, off64_t at),
        (file, data, size, at))
ON_FILE(int, fsync, SYNC, (int file), (file))
ON_FILE(int, fdatasync, SYNC, (int file), (file))
ON_FILE(int, ftruncate, WRITE, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, WRITE, (int file, off64_t size), (file, size))
ON_FILE(int, fstat, LOOK, (int file, struct stat *status), (file, status))
ON_FILE(int, fstat64, LOOK, (int file, struct stat64 *status), (file, status))

#define ON_PATH(name, kind, declared, given)                                            \
    int name declared {                                                                 \
        if (path_fails(path, kind)) return -1;                                          \
        return NEXT(name) given;                                                        \
    }
ON_PATH(stat, LOOK, (const char *path, struct stat *status), (path, status))
ON_PATH(stat64, LOOK, (const char *path, struct stat64 *status), (path, status))
ON_PATH(lstat64, LOOK, (const char *path, struct stat64 *status), (path, status))
ON_PATH(unlink, CHANGE, (const char *path), (path))
ON_PATH(rename, CHANGE, (const char *path, const char *new), (path, new))
ON_PATH(mkdir, CREATE, (const char *path, mode_t rights), (path, rights))

#define MAPPING(name, offset)                                                           \
    void *name(void *at, size_t size, int rights, int flags, int file, offset from) {   \
        if (!(flags & MAP_ANONYMOUS) && file_fails(file, MAP)) return MAP_FAILED;       \
        return NEXT(name)(at, size, rights, flags, file, from);                         \
    }
MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)

#define CONTROL(name)                                                                   \
    int name(int file, int command, ...) {                                              \
        va_list rest;                                                                   \
        va_start(rest, command);                                                        \
        void *argument = va_arg(rest, void *);                                          \
        va_end(rest);                                                                   \
        if (command == F_SETLK && file_fails(file, LOCK)) return -1;                    \
        return NEXT(name)(file, command, argument);                                     \
    }
CONTROL(fcntl)
CONTROL(fcntl64)
