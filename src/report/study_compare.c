/* study_compare.c -- base row, speedup, efficiency, and which rows carry which fit. */
#include "report/study.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int pn_study_find_base(const pn_study *s) {
  int best = -1;
  for (int i = 0; i < s->n; i++) {
    const pn_study_row *r = &s->rows[i];
    if (!r->ok || r->ranks != 1 || r->oversubscribed) continue;
    if (best < 0 || r->images_per_s > s->rows[best].images_per_s) best = i;
  }
  return best;
}

/* The batch that has to stay fixed: global in strong scaling, per rank in weak scaling. */
static double fixed_batch(const pn_study_row *r) {
  return r->weak ? (double)r->global_batch / r->ranks : (double)r->global_batch;
}

/* Rows of one family differ only in how many ranks share the work. */
static bool same_family(const pn_study_row *a, const pn_study_row *b) {
  return a->threads == b->threads && strcmp(a->device, b->device) == 0 &&
         a->train.leaves == b->train.leaves &&
         strcmp(a->train.precision, b->train.precision) == 0 &&
         (a->ranks == 1 || b->ranks == 1 || strcmp(a->train.strategy, b->train.strategy) == 0);
}

/* A single-rank row is part of strong and of weak scaling alike. */
static bool of_kind(const pn_study_row *r, bool weak) {
  return r->ok && (r->ranks == 1 || r->weak == weak);
}

static bool usable(const pn_study_row *r, bool weak) {
  return of_kind(r, weak) && r->ranks > 1 && !r->oversubscribed;
}

/* The row whose family has most members; -1: no row is usable. */
static int find_family(const pn_study *s, bool weak) {
  int best = -1, most = 0;
  for (int i = 0; i < s->n; i++) {
    int members = 0;
    if (!usable(&s->rows[i], weak)) continue;
    for (int k = 0; k < s->n; k++)
      members += usable(&s->rows[k], weak) && same_family(&s->rows[i], &s->rows[k]);
    if (members > most) most = members, best = i;
  }
  return best;
}

/* p = 1 of a fit: the best single-rank row with as many threads per rank. */
static int find_fit_base(const pn_study *s, const pn_study_row *family) {
  int best = -1;
  for (int i = 0; i < s->n; i++) {
    const pn_study_row *r = &s->rows[i];
    if (!r->ok || r->ranks != 1 || r->oversubscribed || !same_family(r, family)) continue;
    if (fixed_batch(r) != fixed_batch(family)) continue;
    if (best < 0 || r->images_per_s > s->rows[best].images_per_s) best = i;
  }
  return best;
}

/* What more ranks bring and cost: against the row it would be with one rank. */
static void compare_ranks(const pn_study *s, pn_study_row *r) {
  int at = find_fit_base(s, r);
  const pn_study_row *one = at < 0 ? NULL : &s->rows[at];

  if (!one) return;
  r->over_one_rank = r->images_per_s / one->images_per_s;
  if (r->ranks > 1 && !r->weak)
    r->karp_flatt = pn_karp_flatt(r->over_one_rank, (double)r->cores / one->cores);
}

/* The ordinary row that does the same as the exact row r, in one part. */
static int find_ordinary(const pn_study *s, const pn_study_row *r) {
  pn_study_row like = *r;

  like.train.leaves = 0;
  for (int i = 0; i < s->n && r->ok && r->train.leaves > 0; i++) {
    const pn_study_row *o = &s->rows[i];
    if (o->ok && o->ranks == r->ranks && o->global_batch == r->global_batch &&
        o->train.accumulate <= 1 && same_family(o, &like))
      return i;
  }
  return -1;
}

static void compare_exact(const pn_study *s, pn_study_row *r) {
  r->ordinary = find_ordinary(s, r);
  r->exact_cost = r->ordinary < 0 ? NAN : r->step.median / s->rows[r->ordinary].step.median;
}

static void compare_row(const pn_study *s, pn_study_row *r, const pn_study_row *base) {
  compare_exact(s, r);
  r->speedup = r->efficiency = r->karp_flatt = r->over_one_rank = NAN;
  if (!r->ok || !base) return;
  r->speedup = r->images_per_s / base->images_per_s;
  r->efficiency = pn_efficiency(r->speedup, (double)r->cores / base->cores);
  compare_ranks(s, r);
  r->other_batch = fixed_batch(r) != fixed_batch(base);
}

static void leave_out(pn_study_fit *f, const char *name, const char *why) {
  size_t at = strlen(f->left_out);
  snprintf(f->left_out + at, sizeof f->left_out - at, "%s%s (%s)", at ? ", " : "", name, why);
}

/* NULL: the row belongs into the fit; "": it has nothing to do with it; else why it is left out. */
static const char *why_not(const pn_study_row *r, const pn_study_row *base, bool weak) {
  if (!of_kind(r, weak)) return r->ok || r->weak != weak ? "" : "not run";
  if (r == base) return NULL;
  if (r->ranks == 1) return "";
  if (r->oversubscribed) return "more threads than cores";
  if (!base) return "";
  if (!same_family(r, base)) return "other threads, device, precision or exact sums";
  if (fixed_batch(r) != fixed_batch(base)) return "other batch";
  return NULL;
}

/* Every repeat of a row is a point; the base's own repeats are points at p = 1. */
static int add_points(const pn_study_row *r, const pn_study_row *base, pn_scaling_point *out) {
  double p = (double)r->cores / base->cores;
  double base_per_image = base->step.median / (double)base->global_batch;

  for (int i = 0; i < r->n_repeats; i++)
    out[i] = (pn_scaling_point){.p = p,
                                .speedup = base_per_image /
                                           (r->repeat[i].median_ms / (double)r->global_batch),
                                .rel_se = r->repeat[i].rel_se};
  return r->n_repeats;
}

/* Standard error of the base's time: what its runs say themselves, or their spread if larger. */
static double base_error(const pn_study_row *b) {
  double mean = 0, squares = 0, own = 0, n = b->n_repeats;

  for (int i = 0; i < b->n_repeats; i++) {
    mean += b->repeat[i].median_ms / n;
    own += b->repeat[i].rel_se / n;
  }
  for (int i = 0; i < b->n_repeats; i++) squares += pow(b->repeat[i].median_ms - mean, 2);
  if (n < 2) return own;
  return fmax(own, sqrt(squares / (n - 1)) / mean) / sqrt(n);
}

/* Points of one kind of scaling; returns how many. */
static int gather(const pn_study *s, bool weak, pn_study_fit *f, pn_scaling_point *points) {
  int family = find_family(s, weak), n = 0;
  const pn_study_row *base, *like;

  *f = (pn_study_fit){.base = family < 0 ? -1 : find_fit_base(s, &s->rows[family])};
  if (f->base < 0) f->base = pn_study_find_base(s); /* so that each row left out says why */
  base = f->base < 0 ? NULL : &s->rows[f->base];
  like = family < 0 ? NULL : &s->rows[family];
  for (int i = 0; i < s->n; i++) {
    const pn_study_row *r = &s->rows[i];
    const char *why = why_not(r, base, weak);
    if (!why && base && r != base && !same_family(r, like)) why = "other strategy";
    if (why && *why) leave_out(f, r->name, why);
    if (why || !base || n + r->n_repeats > PN_FIT_MAX_POINTS) continue;
    if (r->cores >= base->cores) n += add_points(r, base, points + n);
  }
  return n;
}

static void explain(pn_fit_info *info, const pn_study_fit *f) {
  size_t at = strlen(info->refused);
  if (at && f->left_out[0])
    snprintf(info->refused + at, sizeof info->refused - at, "; left out: %s", f->left_out);
}

static pn_status fit_all(pn_study *s) {
  pn_scaling_point points[PN_FIT_MAX_POINTS];
  pn_scaling_data d = {.points = points, .seed = s->seed};
  pn_status st;

  d.n = gather(s, false, &s->strong, points);
  d.base_rel_se = s->strong.base < 0 ? 0 : base_error(&s->rows[s->strong.base]);
  PN_TRY(pn_fit_amdahl(&d, &s->amdahl));
  PN_TRY(pn_fit_usl(&d, &s->usl));
  explain(&s->amdahl.info, &s->strong);
  explain(&s->usl.info, &s->strong);
  d.n = gather(s, true, &s->weak, points);
  d.base_rel_se = s->weak.base < 0 ? 0 : base_error(&s->rows[s->weak.base]);
  PN_TRY(pn_fit_gustafson(&d, &s->gustafson));
  explain(&s->gustafson.info, &s->weak);
done:
  return st;
}

pn_status pn_study_compare(pn_study *s) {
  s->base = pn_study_find_base(s);
  for (int i = 0; i < s->n; i++)
    compare_row(s, &s->rows[i], s->base < 0 ? NULL : &s->rows[s->base]);
  return fit_all(s);
}
