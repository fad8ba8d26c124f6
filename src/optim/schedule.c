/* schedule.c -- learning-rate schedules in closed form: no state but the plateau's. */
#include "optim/schedule.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static double constant(const pn_schedule *s, int64_t i) {
  (void)s, (void)i;
  return 1;
}

/* The first step at or after n x every epochs is the first with gamma^n; rounded quotients may lie
 * just under n. */
static double steps(const pn_schedule *s, int64_t i) {
  double lowered = (double)i / (s->config.every * (double)s->steps_per_epoch);
  return pow(s->config.gamma, floor(lowered + 1e-9));
}

static int64_t warmup_steps(const pn_schedule *s) {
  return llround(s->config.warmup * (double)s->steps_per_epoch);
}

/* CosineAnnealingLR over the steps after the warm-up. */
static double cosine(const pn_schedule *s, int64_t i) {
  int64_t w = warmup_steps(s);
  double x = (double)(i - w) / (double)(s->steps - w);
  return s->config.floor + (1 - s->config.floor) * (1 + cos(PI * x)) / 2;
}

static double between(double from, double to, double x) {
  return to + (from - to) / 2 * (1 + cos(PI * x));
}

static double onecycle(const pn_schedule *s, int64_t i) {
  double top = s->config.rise * (double)s->steps - 1, end = (double)s->steps - 1;
  double first = 1 / s->config.div, last = first / s->config.final_div, at = (double)i;

  if (at <= top) return top > 0 ? between(first, 1, at / top) : 1;
  return between(1, last, end > top ? (at - top) / (end - top) : 1);
}

static double plateau(const pn_schedule *s, int64_t i) {
  (void)i;
  return s->factor;
}

static const struct rule {
  const char *name;
  double (*factor)(const pn_schedule *s, int64_t step);
} rules[] = {{"constant", constant},
             {"step", steps},
             {"cosine", cosine},
             {"onecycle", onecycle},
             {"plateau", plateau}};

static const struct rule *find(const char *name) {
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    if (strcmp(rules[i].name, name) == 0) return &rules[i];
  return NULL;
}

void pn_schedule_defaults(pn_schedule_config *c) {
  *c = (pn_schedule_config){.name = "constant",
                            .warmup_start = 0.1,
                            .every = 30,
                            .gamma = 0.1,
                            .rise = 0.3,
                            .div = 25,
                            .final_div = 1e4,
                            .factor = 0.1,
                            .threshold = 1e-4,
                            .patience = 10};
}

pn_status pn_schedule_make(const pn_schedule_config *c, int64_t n, int64_t per_epoch,
                           pn_schedule *out) {
  *out = (pn_schedule){
      .config = *c, .steps = n, .steps_per_epoch = per_epoch, .factor = 1, .best = DBL_MAX};
  if (!out->config.name[0]) pn_schedule_defaults(&out->config);
  if (!find(out->config.name))
    return PN_FAIL(PN_ERR_ARG,
                   "unknown schedule '%s': there are constant, step, cosine, onecycle, plateau",
                   c->name);
  if (warmup_steps(out) > 0 && warmup_steps(out) >= n)
    return PN_FAIL(PN_ERR_ARG,
                   "schedule.warmup=%g epochs are %lld steps, the run has only %lld: shorten it",
                   c->warmup, (long long)warmup_steps(out), (long long)n);
  return PN_OK;
}

double pn_schedule_factor(const pn_schedule *s, int64_t step) {
  double start = s->config.warmup_start;
  int64_t w = warmup_steps(s);

  if (step < w) return start + (1 - start) * (double)step / (double)w;
  return find(s->config.name)->factor(s, step);
}

/* ReduceLROnPlateau, mode min, threshold relative. */
bool pn_schedule_epoch(pn_schedule *s, double loss) {
  const pn_schedule_config *c = &s->config;
  double before = s->factor;

  if (strcmp(c->name, "plateau") != 0) return false;
  if (loss < s->best * (1 - c->threshold)) {
    s->best = loss;
    s->bad = 0;
  } else {
    s->bad++;
  }
  if (s->cooling > 0) {
    s->cooling--;
    s->bad = 0;
  }
  if (s->bad > c->patience) {
    s->factor = fmax(s->factor * c->factor, c->floor);
    s->cooling = c->cooldown;
    s->bad = 0;
  }
  return s->factor < before;
}

double pn_lr_scale(const char *rule, double images, double base) {
  if (strcmp(rule, "linear") == 0) return images / base;
  return strcmp(rule, "sqrt") == 0 ? sqrt(images / base) : 1;
}
