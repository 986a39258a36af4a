// Preloaded into a process, moves the clock that it sees. The file named by CHAOS_CLOCK holds by how many nanoseconds (8 bytes,
// signed), and may change at any time; the monotonic clock is left alone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;
/* A time behind this many seconds is one of the calendar's: no machine is up for so long. */
static const time_t CALENDAR = 1000000000;

static _Atomic int64_t none;
static _Atomic int64_t *offset = &none;

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static void *find(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
  real_clock_gettime = find("clock_gettime");
  // Without a version the one for programs of before 2003 may be found.
  real_timedwait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (real_timedwait == NULL) {
    real_timedwait = find("pthread_cond_timedwait");
  }
  const char *path = getenv("CHAOS_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return;
  }
  void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) {
    offset = mapped;
  }
}

static void move(struct timespec *time, int64_t by) {
  int64_t sum = time->tv_nsec + by % SECOND;
  time->tv_sec += by / SECOND;
  if (sum < 0) {
    sum += SECOND;
    time->tv_sec -= 1;
  } else if (sum >= SECOND) {
    sum -= SECOND;
    time->tv_sec += 1;
  }
  time->tv_nsec = sum;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  if (real_clock_gettime == NULL) {
    begin();
  }
  int result = real_clock_gettime(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    move(time, atomic_load(offset));
  }
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != NULL) {
    *result = now.tv_sec;
  }
  return now.tv_sec;
}

// The kernel compares with its own clock.
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
  if (real_timedwait == NULL) {
    begin();
  }
  struct timespec moved = *until;
  if (moved.tv_sec > CALENDAR) {
    move(&moved, -atomic_load(offset));
  }
  return real_timedwait(condition, mutex, &moved);
}
