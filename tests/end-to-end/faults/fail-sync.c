// Preloaded into a process, makes one fsync or fdatasync of it fail: the n-th (FAIL_SYNC_NUMBER) after the file named by
// FAIL_SYNC_ARMED came to be. Every other one works, so that a program which tries again would be told that all is well.
// Before it fails, it creates the file FAIL_SYNC_ARMED with ".failed" appended, in which is the path of what was to be synced.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_long syncs_since_armed;

static int is_the_one_to_fail(int file) {
  const char *armed = getenv("FAIL_SYNC_ARMED");
  const char *number = getenv("FAIL_SYNC_NUMBER");
  if (armed == NULL || number == NULL || access(armed, F_OK) != 0) {
    return 0;
  }
  if (atomic_fetch_add(&syncs_since_armed, 1) + 1 != atol(number)) {
    return 0;
  }
  char path[4096];
  snprintf(path, sizeof path, "%s.failed", armed);
  int marker = open(path, O_CREAT | O_WRONLY, 0600);
  if (marker >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path);
    if (length > 0 && write(marker, path, length) != length) {
      abort();
    }
    close(marker);
  }
  return 1;
}

static int sync_or_fail(const char *name, int file) {
  if (is_the_one_to_fail(file)) {
    errno = EIO;
    return -1;
  }
  int (*original)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  return original(file);
}

int fsync(int file) { return sync_or_fail("fsync", file); }

int fdatasync(int file) { return sync_or_fail("fdatasync", file); }
