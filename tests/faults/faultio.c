/* What a process does to its files, written down and, where told, refused.
 *
 * Loaded by LD_PRELOAD. Settings come from the environment, and are read once:
 *
 *   FAULTIO_DIR    calls on files below this directory are seen; all others pass
 *   FAULTIO_LOG    file the calls are appended to, in order, with the bytes written
 *   FAULTIO_CONTROL  file with a `struct control`, mapped: it says which call to refuse, may be
 *                  changed at any moment, and counts what was seen
 *
 * A refused call does nothing but set errno.
 *
 * A record of the log is a header (kind, length of the name, offset, length of the bytes), the
 * name, the bytes. Kinds: W write, T truncate, S sync, F failed sync, U unlink, R rename (the
 * bytes are the new name), D make directory. The program under test appends records of kind A of
 * its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH 1024

enum operation { NONE, WRITE, SYNC, TRUNCATE, OPERATIONS };

/* `control.py` knows this layout too. The calls of an operation are counted from the moment it is
 * told; the `nth` is refused, and all after it while `ever` is set. With `only`, just on files
 * whose names end like that. */
struct control {
    atomic_ulong seen;
    atomic_ulong counted;
    atomic_ulong refused;
    atomic_int operation;
    int nth;
    int error;
    int ever;
    char only[64];
};

struct header {
    char kind;
    uint16_t name_length;
    uint64_t offset;
    uint32_t length;
} __attribute__((packed));

static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);
static int (*real_mkdir)(const char *, mode_t);

static char directory[PATH];
static int log_file = -1;
static struct control *control;
/* The order in the log has to be the order on the file, so a call and its record are one step. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

static void map_control(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || real_ftruncate(fd, sizeof *control) != 0) abort();
    void *page = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) abort();
    control = page;
    close(fd);
}

__attribute__((constructor)) static void begin(void) {
    real_pwrite = next("pwrite64");
    real_write = next("write");
    real_fsync = next("fsync");
    real_fdatasync = next("fdatasync");
    real_ftruncate = next("ftruncate64");
    real_unlink = next("unlink");
    real_rename = next("rename");
    real_mkdir = next("mkdir");
    const char *text = getenv("FAULTIO_DIR");
    if (text != NULL) snprintf(directory, sizeof directory, "%s/", text);
    if ((text = getenv("FAULTIO_LOG")) != NULL)
        log_file = open(text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if ((text = getenv("FAULTIO_CONTROL")) != NULL) map_control(text);
}

static int is_below(const char *path) {
    size_t length = strlen(directory);
    return length > 0 && (strncmp(path, directory, length) == 0 ||
                          (strlen(path) == length - 1 && strncmp(path, directory, length - 1) == 0));
}

/* Whether a descriptor is a file or directory we watch; its path. */
static int watched(int fd, char *path) {
    char link[64];
    struct stat state;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (!is_below(path) || fstat(fd, &state) != 0) return 0;
    return S_ISREG(state.st_mode) || S_ISDIR(state.st_mode);
}

static int ends_as_told(const char *path) {
    size_t length = strlen(path), wanted = strlen(control->only);
    return length >= wanted && strcmp(path + length - wanted, control->only) == 0;
}

static int refused(enum operation operation, const char *path) {
    if (control == NULL) return 0;
    atomic_fetch_add(&control->seen, 1);
    if (atomic_load(&control->operation) != (int)operation || !ends_as_told(path)) return 0;
    unsigned long count = atomic_fetch_add(&control->counted, 1) + 1;
    unsigned long nth = (unsigned long)control->nth;
    if (control->ever ? count < nth : count != nth) return 0;
    atomic_fetch_add(&control->refused, 1);
    errno = control->error;
    return 1;
}

static void record(char kind, const char *name, uint64_t offset, const void *bytes, size_t length) {
    if (log_file < 0) return;
    int before = errno;
    struct header header = {kind, (uint16_t)strlen(name), offset, (uint32_t)length};
    struct iovec parts[3] = {
        {&header, sizeof header}, {(void *)name, header.name_length}, {(void *)bytes, length}};
    if (writev(log_file, parts, bytes != NULL ? 3 : 2) < 0) abort();
    errno = before;
}

static ssize_t put(int fd, const char *path, const void *bytes, size_t size, off64_t offset) {
    pthread_mutex_lock(&order);
    ssize_t done = real_pwrite(fd, bytes, size, offset);
    if (done > 0) record('W', path, (uint64_t)offset, bytes, (size_t)done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    char path[PATH];
    if (!watched(fd, path)) return real_pwrite(fd, bytes, size, offset);
    if (refused(WRITE, path)) return -1;
    return put(fd, path, bytes, size, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    return pwrite64(fd, bytes, size, offset);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    char path[PATH];
    struct stat state;
    if (fd <= STDERR_FILENO || fd == log_file || !watched(fd, path))
        return real_write(fd, bytes, size);
    if (refused(WRITE, path)) return -1;
    pthread_mutex_lock(&order);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    if ((fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &state) == 0) offset = state.st_size;
    ssize_t done = real_write(fd, bytes, size);
    if (done > 0) record('W', path, (uint64_t)offset, bytes, (size_t)done);
    pthread_mutex_unlock(&order);
    return done;
}

static int synced(int fd, int (*really)(int)) {
    char path[PATH];
    if (!watched(fd, path)) return really(fd);
    if (refused(SYNC, path)) {
        record('F', path, 0, NULL, 0);
        return -1;
    }
    pthread_mutex_lock(&order);
    int answer = really(fd);
    record(answer == 0 ? 'S' : 'F', path, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return answer;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int ftruncate64(int fd, off64_t size) {
    char path[PATH];
    if (!watched(fd, path)) return real_ftruncate(fd, size);
    if (refused(TRUNCATE, path)) return -1;
    pthread_mutex_lock(&order);
    int answer = real_ftruncate(fd, size);
    if (answer == 0) record('T', path, (uint64_t)size, NULL, 0);
    pthread_mutex_unlock(&order);
    return answer;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int unlink(const char *path) {
    pthread_mutex_lock(&order);
    int answer = real_unlink(path);
    if (answer == 0 && is_below(path)) record('U', path, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return answer;
}

int rename(const char *from, const char *to) {
    pthread_mutex_lock(&order);
    int answer = real_rename(from, to);
    if (answer == 0 && is_below(to)) record('R', from, 0, to, strlen(to));
    pthread_mutex_unlock(&order);
    return answer;
}

int mkdir(const char *path, mode_t mode) {
    pthread_mutex_lock(&order);
    int answer = real_mkdir(path, mode);
    if (answer == 0 && is_below(path)) record('D', path, 0, NULL, 0);
    pthread_mutex_unlock(&order);
    return answer;
}
