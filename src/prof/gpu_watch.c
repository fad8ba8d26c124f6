/* gpu_watch.c -- the thread and its newest sample. */
#include "prof/gpu_watch.h"

#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct pn_gpu_watch {
  pn_nvml *nvml;
  double every_s;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool running, stop;
  pn_gpu_sample sample;
  double at_s;   /* of the sample */
  double summed; /* J, where the GPU does not count them */
};

/* Asking takes milliseconds: outside of the lock. */
static void take(pn_gpu_watch *w) {
  pn_gpu_sample s;
  double now;

  pn_nvml_sample(w->nvml, &s);
  now = pn_now();
  pthread_mutex_lock(&w->lock);
  if (w->at_s > 0 && isfinite(w->sample.value[PN_GPU_POWER]))
    w->summed += w->sample.value[PN_GPU_POWER] * (now - w->at_s);
  if (!isfinite(s.value[PN_GPU_ENERGY]) && isfinite(s.value[PN_GPU_POWER]))
    s.value[PN_GPU_ENERGY] = w->summed;
  w->sample = s;
  w->at_s = now;
  pthread_mutex_unlock(&w->lock);
}

/* False: it is over. */
static bool nap(pn_gpu_watch *w) {
  bool stop;
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += (long)(1e9 * fmod(w->every_s, 1));
  t.tv_sec += (time_t)w->every_s + t.tv_nsec / 1000000000;
  t.tv_nsec %= 1000000000;
  pthread_mutex_lock(&w->lock);
  while (!w->stop && pthread_cond_timedwait(&w->wake, &w->lock, &t) != ETIMEDOUT) {
  }
  stop = w->stop;
  pthread_mutex_unlock(&w->lock);
  return !stop;
}

static void *watch(void *arg) {
  pn_gpu_watch *w = arg;

  while (nap(w)) take(w);
  return NULL;
}

static pn_status spawn(pn_gpu_watch *w) {
  pthread_condattr_t attr;
  sigset_t all, old;
  int rc;

  pthread_mutex_init(&w->lock, NULL);
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&w->wake, &attr);
  pthread_condattr_destroy(&attr);
  take(w); /* so that there is always a sample */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
  rc = pthread_create(&w->thread, NULL, watch, w);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  w->running = rc == 0;
  return rc == 0 ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "thread that watches a GPU: %s", strerror(rc));
}

pn_status pn_gpu_watch_start(const char *bus, double every_s, pn_gpu_watch **out) {
  pn_gpu_watch *w = calloc(1, sizeof *w);
  pn_status st = PN_OK;

  *out = NULL;
  if (!w) return PN_FAIL(PN_ERR_NOMEM, "watching GPU %s", bus);
  w->every_s = every_s;
  PN_TRY(pn_nvml_open(bus, &w->nvml));
  PN_TRY(spawn(w));
  *out = w;
  w = NULL;
done:
  pn_gpu_watch_stop(w);
  return st;
}

void pn_gpu_watch_stop(pn_gpu_watch *w) {
  if (!w) return;
  if (w->running) {
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->wake);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
  }
  pn_nvml_close(w->nvml);
  free(w);
}

void pn_gpu_watch_now(pn_gpu_watch *w, pn_gpu_sample *out) {
  pthread_mutex_lock(&w->lock);
  *out = w->sample;
  if (isfinite(out->value[PN_GPU_POWER]))
    out->value[PN_GPU_ENERGY] += out->value[PN_GPU_POWER] * (pn_now() - w->at_s);
  pthread_mutex_unlock(&w->lock);
}
