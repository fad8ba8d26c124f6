/* ingest_cut.c -- the sorted list in pieces of about equal work, one shard each.  The cut depends
 * on the list and the options only, never on the number of ranks. */
#include "data/ingest_internal.h"

#include <stdlib.h>

/* About PIECES of them where that many images are there, so that ranks have something to draw from;
 * and never more images than shard_mb of stored pixels. */
enum { PIECES = 64, MIN_IMAGES = 8, FILE_COST = 16384 };

/* Bytes to read and decode, and what a file costs however small. */
static int64_t cost_of(const pn_ingest_file *f) {
  return f->skip_reason ? 0 : (f->size + FILE_COST) / f->of;
}

/* Images of one shard at most. */
static int64_t images_that_fit(const pn_ingest *x) {
  const pn_shard_format *f = &x->format;
  int64_t fit = x->cfg->shard_mb * 1000000 / (f->channels * f->height * f->width * (f->bits / 8));
  return fit > 1 ? fit : 1;
}

pn_status pn_ingest_cut(pn_ingest *x) {
  const pn_ingest_source *s = &x->source;
  int64_t total = 0, cost = 0, images = 0, fit = images_that_fit(x);

  if (!(x->cut = calloc((size_t)s->n + 1, sizeof *x->cut)))
    return PN_FAIL(PN_ERR_NOMEM, "ingest: pieces of %lld files: out of memory", (long long)s->n);
  x->n_pieces = 0;
  x->capacity = 1;
  for (int64_t i = 0; i < s->n; i++) total += cost_of(&s->file[i]);
  for (int64_t i = 0; i < s->n; i++) {
    int64_t more = s->file[i].skip_reason ? 0 : 1;
    bool enough = images >= MIN_IMAGES && cost >= total / PIECES;
    if (i > x->cut[x->n_pieces] && (enough || images + more > fit)) {
      x->cut[++x->n_pieces] = i;
      cost = images = 0;
    }
    cost += cost_of(&s->file[i]);
    images += more;
    if (images > x->capacity) x->capacity = images;
  }
  if (s->n > 0) x->cut[++x->n_pieces] = s->n;
  return PN_OK;
}
