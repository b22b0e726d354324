/* Ends a process, as SIGKILL does, before or after one of its writes to a database. Put before the C library with LD_PRELOAD.
 *
 * PLUG_PLACE  the directory whose files count, those with ".db" or ".sqlite" in their names
 * PLUG_ARMED  a file: nothing is counted before it is there
 * PLUG_AT     the number of the point at which to end; two for each write, sync, cut and removal: before it, and after it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long points;

static int counts(const char *path) {
    const char *place = getenv("PLUG_PLACE"), *armed = getenv("PLUG_ARMED");
    if (!place || !armed || strncmp(path, place, strlen(place)) != 0) return 0;
    /* The index beside a log is in memory alone. */
    return (strstr(path, ".db") || strstr(path, ".sqlite")) && !strstr(path, "-shm") && access(armed, F_OK) == 0;
}

static void point(const char *path) {
    const char *at = getenv("PLUG_AT");
    if (at && counts(path) && __sync_add_and_fetch(&points, 1) == atol(at)) kill(getpid(), SIGKILL);
}

static void point_of(int file) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    point(path);
}

#define NEXT(name) \
    static __typeof__(name) *next; \
    if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define AROUND(name, arguments, mark) \
    NEXT(name); \
    mark; \
    __typeof__(next arguments) result = next arguments; \
    mark; \
    return result

ssize_t write(int file, const void *bytes, size_t count) { AROUND(write, (file, bytes, count), point_of(file)); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) { AROUND(pwrite, (file, bytes, count, offset), point_of(file)); }
ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) { AROUND(pwrite64, (file, bytes, count, offset), point_of(file)); }
int fsync(int file) { AROUND(fsync, (file), point_of(file)); }
int fdatasync(int file) { AROUND(fdatasync, (file), point_of(file)); }
int ftruncate(int file, off_t length) { AROUND(ftruncate, (file, length), point_of(file)); }
int ftruncate64(int file, off64_t length) { AROUND(ftruncate64, (file, length), point_of(file)); }
int unlink(const char *path) { AROUND(unlink, (path), point(path)); }
