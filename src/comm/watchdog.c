/* watchdog.c -- a thread looks several times per limit at what the main thread waits for. */
#include "comm/watchdog.h"

#include "base/clock.h"
#include "comm/comm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_DEPTH = 8, TEXT_BYTES = 64, HOST_BYTES = 64, LATE_BYTES = 600, MAX_ASKERS = 64 };
static const double QUIET_S = PN_WATCHDOG_GRACE_S + 1;

struct frame {
  char kind[24], what[TEXT_BYTES];
  int64_t number, bytes;
  int size;
  double start_s;
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t thread;
  atomic_bool running, expired;
  bool stop;
  int users, rank, depth;
  double limit_s;
  char host[HOST_BYTES];
  struct frame stack[MAX_DEPTH];
  struct frame last; /* collective that is over; start_s is its end */
  int64_t step;
  bool idle;
  double warned_s; /* start of the wait that was warned of */
  bool quiet;      /* another rank waits for the same and speaks for both */
  char late[LATE_BYTES];
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void copy_text(char *dst, size_t bytes, const char *src) {
  size_t n = src ? strlen(src) : 0;
  if (n >= bytes) n = bytes - 1;
  if (n > 0) memcpy(dst, src, n);
  dst[n] = '\0';
}

void pn_watchdog_push(const pn_watch_op *op) {
  if (!atomic_load_explicit(&dog.running, memory_order_relaxed)) return;
  pthread_mutex_lock(&dog.lock);
  if (dog.depth < MAX_DEPTH) {
    struct frame *f = &dog.stack[dog.depth];
    copy_text(f->kind, sizeof f->kind, op->kind);
    copy_text(f->what, sizeof f->what, op->what);
    f->number = op->number;
    f->bytes = op->bytes;
    f->size = op->size;
    f->start_s = pn_now();
  }
  dog.depth++;
  pthread_mutex_unlock(&dog.lock);
}

void pn_watchdog_pop(void) {
  if (!atomic_load_explicit(&dog.running, memory_order_relaxed)) return;
  pthread_mutex_lock(&dog.lock);
  if (dog.depth > 0) dog.depth--;
  if (dog.depth < MAX_DEPTH && dog.stack[dog.depth].number > 0) {
    dog.last = dog.stack[dog.depth];
    dog.last.start_s = pn_now();
  }
  if (dog.depth > 0 && dog.depth <= MAX_DEPTH) dog.stack[dog.depth - 1].start_s = pn_now();
  pthread_mutex_unlock(&dog.lock);
}

void pn_watchdog_enter(const char *what, int64_t bytes) {
  pn_watchdog_push(&(pn_watch_op){.what = what, .bytes = bytes});
}

void pn_watchdog_leave(void) {
  pn_watchdog_pop();
}

void pn_watchdog_step(int64_t step) {
  pthread_mutex_lock(&dog.lock);
  dog.step = step;
  pthread_mutex_unlock(&dog.lock);
}

void pn_watchdog_idle(bool idle) {
  pthread_mutex_lock(&dog.lock);
  dog.idle = idle;
  pthread_mutex_unlock(&dog.lock);
}

void pn_watchdog_state(pn_roll_entry *out) {
  const struct frame *f = &dog.last;

  pthread_mutex_lock(&dog.lock);
  *out = (pn_roll_entry){.rank = dog.rank, .state = PN_ROLL_WORKS, .step = dog.step};
  if (dog.idle) out->state = PN_ROLL_IDLE;
  if (dog.depth > 0 && dog.depth <= MAX_DEPTH) {
    f = &dog.stack[dog.depth - 1];
    if (f->kind[0]) out->state = PN_ROLL_WAITS;
  }
  out->number = f->number;
  out->seconds = f->what[0] || f->kind[0] ? pn_now() - f->start_s : 0;
  copy_text(out->kind, sizeof out->kind, f->kind);
  copy_text(out->what, sizeof out->what, f->what);
  pthread_mutex_unlock(&dog.lock);
}

bool pn_watchdog_expired(void) {
  return atomic_load_explicit(&dog.expired, memory_order_relaxed);
}

static void describe(const struct frame *f, char *out, size_t bytes) {
  if (!f->kind[0])
    snprintf(out, bytes, "\"%s\" (%lld bytes); the file system or device does not answer", f->what,
             (long long)f->bytes);
  else if (f->number == 0)
    snprintf(out, bytes, "%s \"%s\" (%lld bytes); the other rank is late, hung or dead", f->kind,
             f->what, (long long)f->bytes);
  else
    snprintf(out, bytes, "collective #%lld (%s \"%s\", %lld bytes, %d ranks); %s%s",
             (long long)f->number, f->kind, f->what, (long long)f->bytes, f->size,
             dog.late[0] ? "late: " : "",
             dog.late[0] ? dog.late
                         : "a rank that prints no such line is late, hung or dead: look there "
                           "first");
}

/* One write, so that lines of several ranks do not mix. */
static void report(const struct frame *f, double waited_s) {
  char where[320 + LATE_BYTES], line[640 + LATE_BYTES];
  int n;

  describe(f, where, sizeof where);
  n = snprintf(line, sizeof line,
               "pneuma: rank %d (host %s): stuck %.0f s in %s. The job ends with exit code %d; if "
               "the work is only slow, raise run.watchdog_s (now %g, 0 = off)\n",
               dog.rank, dog.host, waited_s, where, PN_WATCHDOG_EXIT, dog.limit_s);
  if (write(STDERR_FILENO, line, (size_t)n) < 0) return; /* stderr is gone; the exit code speaks */
}

static void end_job(const struct frame *f, double waited_s) {
  report(f, waited_s);
  atomic_store(&dog.expired, true);
  pn_sleep(PN_WATCHDOG_GRACE_S);
  _exit(PN_WATCHDOG_EXIT);
}

/* One rank that did not come.  False: it is where it should be. */
static bool describe_late(const pn_roll_entry *e, const char *host, char *out, size_t bytes) {
  if (e->state == PN_ROLL_IDLE) return false;
  if (e->state == PN_ROLL_SILENT)
    snprintf(out, bytes, "rank %d (host %s: no answer; dead, stopped or cut off)", (int)e->rank,
             host);
  else if (!e->kind[0] && e->what[0])
    snprintf(out, bytes, "rank %d (host %s: in \"%s\" for %.0f s, step %lld)", (int)e->rank, host,
             e->what, e->seconds, (long long)e->step);
  else
    snprintf(out, bytes, "rank %d (host %s: step %lld, %s collective #%lld (%s \"%s\") %.0f s%s)",
             (int)e->rank, host, (long long)e->step,
             e->state == PN_ROLL_WAITS ? "waits in" : "last seen in", (long long)e->number, e->kind,
             e->what, e->seconds, e->state == PN_ROLL_WAITS ? "" : " ago");
  return true;
}

static bool waits_with_us(const pn_roll_entry *e, const struct frame *f) {
  return e->state == PN_ROLL_WAITS && e->number == f->number && strcmp(e->kind, f->kind) == 0 &&
         strcmp(e->what, f->what) == 0;
}

/* Fills dog.late; true: this rank is the first of those that wait, and speaks for them. */
static bool call_roll(const struct frame *f, pn_roll_entry *all) {
  char one[320];
  const char(*host)[64];
  int n = pn_rollcall_ask(all, &host), first = dog.rank, told = 0, late = 0;

  dog.late[0] = '\0';
  for (int r = 0; r < n; r++) {
    size_t used = strlen(dog.late);
    if (r == dog.rank) continue;
    if (waits_with_us(&all[r], f)) {
      if (r < first) first = r;
    } else if (describe_late(&all[r], host[r], one, sizeof one) && late++ < 4 &&
               used + strlen(one) + 2 < sizeof dog.late)
      told += snprintf(dog.late + used, sizeof dog.late - used, "%s%s", used ? ", " : "", one) > 0;
  }
  if (late > told)
    snprintf(dog.late + strlen(dog.late), sizeof dog.late - strlen(dog.late), ", %d more",
             late - told);
  dog.quiet = late > 0 && first != dog.rank;
  return late > 0 && first == dog.rank;
}

/* Half of the limit is over.  With very many ranks some of them ask: n * n datagrams are too many.
 */
static void warn_late(const struct frame *f, double waited_s) {
  int n = pn_rollcall_size();
  char line[640 + LATE_BYTES];
  pn_roll_entry *all;
  int bytes;

  dog.quiet = false;
  if (n == 0 || !f->kind[0]) return;
  dog.quiet = dog.rank % (1 + n / MAX_ASKERS) != 0;
  if (dog.quiet) return;
  if (!(all = calloc((size_t)n, sizeof *all))) return;
  if (call_roll(f, all)) {
    bytes = snprintf(line, sizeof line,
                     "pneuma: warning: rank %d (host %s) has waited %.1f s in collective #%lld (%s "
                     "\"%s\", step %lld); late: %s. The limit is %g s (run.watchdog_s)\n",
                     dog.rank, dog.host, waited_s, (long long)f->number, f->kind, f->what,
                     (long long)dog.step, dog.late, dog.limit_s);
    if (write(STDERR_FILENO, line, (size_t)bytes) < 0) dog.late[0] = '\0'; /* stderr is gone */
  }
  free(all);
}

/* Sleep a fraction of the limit, or until stop.  Called with the lock held. */
static void nap(void) {
  double s = dog.limit_s / 8 < 1 ? dog.limit_s / 8 : 1;
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += (long)(1e9 * s);
  t.tv_sec += t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  while (!dog.stop && pthread_cond_timedwait(&dog.wake, &dog.lock, &t) != ETIMEDOUT) {
  }
}

static void *watch(void *unused) {
  (void)unused;
  pthread_mutex_lock(&dog.lock);
  while (!dog.stop) {
    int top = dog.depth < MAX_DEPTH ? dog.depth : MAX_DEPTH;
    double waited = top > 0 ? pn_now() - dog.stack[top - 1].start_s : 0;
    if (waited > dog.limit_s / 2 && dog.stack[top - 1].start_s != dog.warned_s) {
      struct frame f = dog.stack[top - 1];
      dog.warned_s = f.start_s;
      pthread_mutex_unlock(&dog.lock);
      warn_late(&f, waited);
      pthread_mutex_lock(&dog.lock);
      continue;
    }
    /* a quiet rank: the one that speaks has ended the job by then */
    if (waited > dog.limit_s + (dog.quiet ? QUIET_S : 0)) {
      struct frame f = dog.stack[top - 1];
      pthread_mutex_unlock(&dog.lock);
      end_job(&f, waited);
    }
    nap();
  }
  pthread_mutex_unlock(&dog.lock);
  return NULL;
}

/* Signals are the main thread's business: block them all while the thread is born. */
static int spawn(void) {
  pthread_condattr_t attr;
  sigset_t all, old;
  int rc;

  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&dog.wake, &attr);
  pthread_condattr_destroy(&attr);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  rc = pthread_create(&dog.thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return rc;
}

pn_status pn_watchdog_start(double limit_s, int world_rank) {
  int rc = 0;

  if (!(limit_s >= 0)) return PN_FAIL(PN_ERR_ARG, "watchdog limit %g s: expected >= 0", limit_s);
  pthread_mutex_lock(&dog.lock);
  dog.users++;
  dog.rank = world_rank;
  dog.limit_s = limit_s;
  dog.depth = 0;
  gethostname(dog.host, sizeof dog.host - 1);
  pthread_mutex_unlock(&dog.lock);
  if (limit_s > 0 && !dog.running) {
    dog.stop = false;
    if ((rc = spawn()) == 0) dog.running = true;
  }
  if (rc == 0) return PN_OK;
  dog.users--;
  return PN_FAIL(PN_ERR_NOMEM, "cannot start the watchdog thread: %s", strerror(rc));
}

double pn_watchdog_limit(void) {
  double limit_s;

  pthread_mutex_lock(&dog.lock);
  limit_s = dog.users > 0 ? dog.limit_s : 0;
  pthread_mutex_unlock(&dog.lock);
  return limit_s;
}

void pn_watchdog_stop(void) {
  pthread_mutex_lock(&dog.lock);
  bool last = --dog.users == 0 && dog.running;
  if (last) dog.stop = true;
  pthread_mutex_unlock(&dog.lock);
  if (!last) return;
  pthread_cond_signal(&dog.wake);
  pthread_join(dog.thread, NULL);
  pthread_cond_destroy(&dog.wake);
  dog.running = false;
}
