/* ingest_split.c -- given splits are kept and searched for leaks; images without one are dealt out
 * by patient.  Decided from the sorted records alone: the number of ranks cannot matter. */
#include "base/log.h"
#include "base/rng.h"
#include "data/ingest_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The kept images of one patient. */
struct group {
  uint64_t id, order;
  int32_t label; /* highest of its images: the stratum */
  int32_t split;
  int64_t images;
  int highest; /* of the given splits; -1: none given */
};

static int by_group(const void *a, const void *b) {
  const struct group *x = a, *y = b;
  return (x->id > y->id) - (x->id < y->id);
}

static int by_label_and_order(const void *a, const void *b) {
  const struct group *x = a, *y = b;
  if (x->label != y->label) return x->label > y->label ? 1 : -1;
  if (x->order != y->order) return x->order > y->order ? 1 : -1;
  return by_group(a, b);
}

static struct group *find_group(struct group *g, int64_t n, uint64_t id) {
  const struct group key = {.id = id};
  return n > 0 ? bsearch(&key, g, (size_t)n, sizeof *g, by_group) : NULL;
}

/* What is dealt out: a split that is given to any image is left as it is. */
struct shares {
  double val, test;
  bool from_train; /* images given as train are dealt too */
};

static bool takes_part(const struct shares *s, int given) {
  return given < 0 || (given == PN_TRAIN && s->from_train);
}

/* One group per patient, sorted by id, of the records that take part (s NULL: all). */
static int64_t make_groups(const pn_ingest *x, const struct shares *s, struct group *g) {
  const pn_ingest_record *r = x->records.data;
  int64_t n = 0, kept = 0;

  for (int64_t i = 0; i < x->records.n; i++) {
    int given = r[i].given;
    if (r[i].split >= 0 && (!s || takes_part(s, given)))
      g[kept++] =
          (struct group){.id = r[i].group, .label = r[i].label, .images = 1, .highest = given};
  }
  if (kept > 1) qsort(g, (size_t)kept, sizeof *g, by_group);
  for (int64_t i = 0; i < kept; i++) {
    struct group *last = n > 0 ? &g[n - 1] : NULL;
    if (!last || last->id != g[i].id) {
      g[n++] = g[i];
      continue;
    }
    last->images++;
    if (g[i].label > last->label) last->label = g[i].label;
    if (g[i].highest > last->highest) last->highest = g[i].highest;
  }
  return n;
}

static pn_status add_leak(pn_ingest *x, const pn_ingest_record *r, int other) {
  pn_ingest_event e;

  memset(&e, 0, sizeof e);
  e.file = r->file;
  e.outcome = x->cfg->reject_leaks ? PN_OUT_REJECTED : PN_OUT_LEAK;
  pn_reject_set(&e.why, "leak_patient", NULL, "given as %s; the same patient is in %s",
                pn_split_name((pn_split)r->given), pn_split_name((pn_split)other));
  return pn_ingest_array_add(&x->events, &e);
}

/* A patient with images given to several splits: those outside the last of train, val, test leak.
 */
pn_status pn_ingest_leaks(pn_ingest *x) {
  struct group *g = calloc((size_t)x->records.n + 1, sizeof *g);
  pn_ingest_record *r = x->records.data;
  pn_status st = g ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "ingest: splits: out of memory");
  int64_t n = g ? make_groups(x, NULL, g) : 0;

  for (int64_t i = 0; i < x->records.n && st == PN_OK; i++) {
    const struct group *patient = find_group(g, n, r[i].group);
    if (r[i].split < 0 || !patient || r[i].given < 0) continue;
    if (r[i].given == patient->highest) continue;
    x->leaks++;
    st = add_leak(x, &r[i], patient->highest);
    if (!x->cfg->reject_leaks) continue;
    r[i].split = -1;
    x->dropped++;
  }
  free(g);
  return st;
}

static bool has_given(const pn_ingest *x, int split) {
  const pn_ingest_record *r = x->records.data;
  for (int64_t i = 0; i < x->records.n; i++)
    if (r[i].split >= 0 && r[i].given == split) return true;
  return false;
}

/* Groups of one class, in random order: the first val share of their images are val, then test. */
static void split_class(const struct shares *s, struct group *g, int64_t n) {
  int64_t images = 0, val, test, in_val = 0, in_test = 0;

  for (int64_t i = 0; i < n; i++) images += g[i].images;
  val = llround(s->val * (double)images);
  test = llround(s->test * (double)images);
  for (int64_t i = 0; i < n; i++) {
    g[i].split = in_val < val ? PN_VAL : in_test < test ? PN_TEST : PN_TRAIN;
    if (g[i].split == PN_VAL) in_val += g[i].images;
    if (g[i].split == PN_TEST) in_test += g[i].images;
  }
}

/* Patients in random order by class. */
static void deal(const pn_ingest *x, const struct shares *s, struct group *g, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    pn_rng r = pn_rng_make(x->cfg->seed, PN_RNG_SPLIT, g[i].id, 0);
    g[i].order = (uint64_t)pn_rng_u32(&r) << 32;
    g[i].order |= pn_rng_u32(&r);
  }
  if (n > 1) qsort(g, (size_t)n, sizeof *g, by_label_and_order);
  for (int64_t i = 0, k; i < n; i = k) {
    for (k = i; k < n && g[k].label == g[i].label; k++) continue;
    split_class(s, g + i, k - i);
  }
  if (n > 1) qsort(g, (size_t)n, sizeof *g, by_group);
}

void pn_ingest_warn_classes(const pn_ingest *x) {
  const pn_labels *l = &x->source.labels;
  const pn_ingest_record *r = x->records.data;
  int64_t n[PN_MAX_CLASSES][PN_SPLIT_COUNT] = {{0}}, all[PN_SPLIT_COUNT] = {0};

  for (int64_t i = 0; i < x->records.n; i++) {
    if (r[i].split < 0) continue;
    n[r[i].label][r[i].split]++;
    all[r[i].split]++;
  }
  for (int k = 0; k < l->n_classes; k++) {
    if (n[k][PN_TRAIN] + n[k][PN_VAL] + n[k][PN_TEST] == 0) {
      pn_warn("no image of class %s was written", l->class_name[k]);
      continue;
    }
    for (int s = 0; s < PN_SPLIT_COUNT; s++)
      if (n[k][s] == 0 && all[s] > 0)
        pn_warn("class %s has no image in %s", l->class_name[k], pn_split_name((pn_split)s));
  }
}

pn_status pn_ingest_splits(pn_ingest *x) {
  struct group *g = calloc((size_t)x->records.n + 1, sizeof *g);
  pn_ingest_record *r = x->records.data;
  struct shares s = {x->cfg->val_share, x->cfg->test_share, false};
  int64_t n;

  if (!g) return PN_FAIL(PN_ERR_NOMEM, "ingest: splits: out of memory");
  if (has_given(x, PN_VAL)) s.val = 0;
  if (has_given(x, PN_TEST)) s.test = 0;
  s.from_train = s.val > 0 || s.test > 0;
  n = make_groups(x, &s, g);
  deal(x, &s, g, n);
  for (int64_t i = 0; i < x->records.n; i++) {
    int given = r[i].given;
    const struct group *found = find_group(g, n, r[i].group);
    if (r[i].split < 0) continue;
    r[i].split = takes_part(&s, given) && found ? found->split : given;
  }
  free(g);
  return PN_OK;
}
