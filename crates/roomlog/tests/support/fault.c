/* Calls that fail, for a test's server: loaded by LD_PRELOAD.
 *
 * Once the file FAULT_WHEN is there, each call of the kind FAULT_CALL ("write" or "sync") on a file
 * whose path ends with FAULT_FILE fails with EIO and does nothing. The clock is FAULT_CLOCK_S seconds
 * ahead, if that is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fails(int fd, const char *call) {
  const char *want = getenv("FAULT_CALL"), *file = getenv("FAULT_FILE"), *when = getenv("FAULT_WHEN");
  char link[64], path[4096];
  if (!want || !file || !when || strcmp(want, call) != 0 || access(when, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  size_t end = strlen(file);
  if (length < (ssize_t)end || memcmp(path + length - end, file, end) != 0) return 0;
  errno = EIO;
  return 1;
}

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = REAL("clock_gettime", int (*)(clockid_t, struct timespec *))(clock, now);
  const char *ahead = getenv("FAULT_CLOCK_S");
  if (!failed && clock == CLOCK_REALTIME && ahead) now->tv_sec += atol(ahead);
  return failed;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  if (fails(fd, "write")) return -1;
  return REAL("write", ssize_t (*)(int, const void *, size_t))(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  if (fails(fd, "write")) return -1;
  return REAL("pwrite", ssize_t (*)(int, const void *, size_t, off_t))(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  if (fails(fd, "write")) return -1;
  return REAL("pwrite64", ssize_t (*)(int, const void *, size_t, off64_t))(fd, bytes, count, at);
}

int fsync(int fd) {
  if (fails(fd, "sync")) return -1;
  return REAL("fsync", int (*)(int))(fd);
}

int fdatasync(int fd) {
  if (fails(fd, "sync")) return -1;
  return REAL("fdatasync", int (*)(int))(fd);
}
