/* bucket_choice.c -- a short sweep over bucket sizes before the first step. */
#include "parallel/bucket_choice.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum { MIB = 1 << 20, SMALLEST = MIB, LARGEST = 32 * MIB, DEFAULT = 4 * MIB, SIZES = 6 };
enum { PROBES = 3, ROUNDS = 5, MIN_ROUNDS = 2, MAX_REQUESTS = LARGEST / SMALLEST };

static const double budget_s = 1, close_enough = 1.1;

/* Sum of the whole buffer in buckets, seconds of the slowest rank. */
static pn_status time_once(pn_comm *c, float *buf, int64_t total, int64_t bucket, double *seconds) {
  const int64_t n = total / (int64_t)sizeof *buf, step = bucket / (int64_t)sizeof *buf;
  pn_request *q[MAX_REQUESTS + 1];
  double t0;
  int k = 0;
  pn_status st = PN_OK;

  memset(buf, 0, (size_t)total); /* each rank has just written its gradients */
  PN_TRY(pn_barrier(c, "sweep of bucket sizes"));
  t0 = pn_now();
  for (int64_t at = 0; at < n; at += step)
    PN_TRY(pn_iallreduce_sum(c, "sweep of bucket sizes", buf + at, n - at < step ? n - at : step,
                             &q[k++]));
  for (int i = 0; i < k; i++) PN_TRY(pn_request_wait(q[i]));
  *seconds = pn_now() - t0;
  PN_TRY(pn_allreduce(c, "sweep of bucket sizes", seconds, 1, PN_F64, PN_MAX));
done:
  return st;
}

/* Rounds that the budget allows, told by one small bucket; 0: fewer than it takes. */
static pn_status plan_rounds(pn_comm *c, float *buf, int64_t total, int sizes, int *rounds) {
  double t, best = 0, one;
  pn_status st = PN_OK;

  for (int i = 0; i < PROBES; i++) { /* connections are made in the first one */
    PN_TRY(time_once(c, buf, SMALLEST, SMALLEST, &t));
    if (i == 0 || t < best) best = t;
  }
  one = best * (double)total / SMALLEST * sizes;
  *rounds = one * ROUNDS < budget_s ? ROUNDS : (int)(budget_s / one);
  if (*rounds < MIN_ROUNDS) *rounds = 0;
done:
  return st;
}

/* The best of all rounds. */
static pn_status sweep(pn_comm *c, float *buf, int64_t total, int rounds, pn_bucket_choice *x) {
  double t;
  pn_status st = PN_OK;

  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < x->n_tried; i++) {
      PN_TRY(time_once(c, buf, total, x->tried[i].bytes, &t));
      if (r == 0 || t < x->tried[i].seconds) x->tried[i].seconds = t;
    }
done:
  return st;
}

static void pick(pn_bucket_choice *x) {
  double best = x->tried[0].seconds;
  int i = 0;

  for (int k = 1; k < x->n_tried; k++)
    if (x->tried[k].seconds < best) best = x->tried[k].seconds;
  while (x->tried[i].seconds > close_enough * best) i++;
  x->bytes = x->tried[i].bytes;
  x->origin = "sweep";
  snprintf(x->why, sizeof x->why,
           "the smallest of %d sizes within a tenth of the fastest: %.2f ms for all gradients, "
           "fastest %.2f ms",
           x->n_tried, 1e3 * x->tried[i].seconds, 1e3 * best);
}

static pn_status measure(pn_comm *c, int64_t total, pn_bucket_choice *x) {
  void *buf = NULL;
  int rounds = 0;
  pn_status st = PN_OK;

  for (int64_t b = SMALLEST; x->n_tried < SIZES && (b == SMALLEST || b / 2 < total); b *= 2)
    x->tried[x->n_tried++].bytes = b;
  PN_TRY(pn_comm_alloc(c, (size_t)total, &buf));
  PN_TRY(plan_rounds(c, buf, total, x->n_tried, &rounds));
  PN_TRY(sweep(c, buf, total, rounds, x));
  if (rounds > 0) {
    pick(x);
    goto done;
  }
  snprintf(x->why, sizeof x->why, "to try out %d sizes would take more than %g s on this network",
           x->n_tried, budget_s);
  x->n_tried = 0;
done:
  pn_comm_free(c, buf);
  return st;
}

pn_status pn_buckets_choose(pn_comm *c, const pn_bucket_question *q, pn_bucket_choice *out) {
  int64_t total = q->gradient < LARGEST ? q->gradient / 64 * 64 : LARGEST;

  *out = (pn_bucket_choice){.bytes = DEFAULT, .origin = "default"};
  if (q->wanted > 0) {
    out->bytes = q->wanted;
    out->origin = "option";
    snprintf(out->why, sizeof out->why, "%s%s", q->unused ? "not used: " : "as asked for",
             q->unused ? q->fixed : "");
  } else if (q->fixed) {
    snprintf(out->why, sizeof out->why, "%s", q->fixed);
  } else if (pn_comm_size(c) == 1 || total <= SMALLEST) {
    snprintf(out->why, sizeof out->why, "there is too little to choose from");
  } else if (!pn_comm_order_fixed(c)) {
    snprintf(out->why, sizeof out->why,
             "over %s on %d ranks the order of sums depends on it: not measured",
             pn_comm_backend(c), pn_comm_size(c));
  } else {
    return measure(c, total, out);
  }
  return PN_OK;
}
