/* ingest_cut.c -- the sorted list in pieces of about equal work, one shard each.  The cut depends
 * on the list and the options only, never on the number of ranks. */
#include "data/ingest_internal.h"

#include <stdlib.h>

/* Shards of about SHARD_BYTES, the size that parallel file systems like; smaller ones only where
 * there would be fewer than MIN_PIECES, so that ranks have something to draw from.  Never more
 * images than shard_mb of stored pixels. */
enum { SHARD_BYTES = 64000000, MIN_PIECES = 16, MIN_IMAGES = 8, FILE_COST = 16384 };

/* Bytes to read and decode, and what a file costs however small. */
static int64_t cost_of(const pn_ingest_file *f) {
  return f->skip_reason ? 0 : (f->size + FILE_COST) / f->of;
}

static int64_t image_bytes(const pn_ingest *x) {
  const pn_shard_format *f = &x->format;
  return f->channels * f->height * f->width * (f->bits / 8);
}

/* Images of one shard at most. */
static int64_t images_that_fit(const pn_ingest *x) {
  int64_t fit = x->cfg->shard_mb * 1000000 / image_bytes(x);
  return fit > 1 ? fit : 1;
}

static int64_t pieces_wanted(const pn_ingest *x, int64_t images) {
  int64_t n = images * image_bytes(x) / SHARD_BYTES;
  return n > MIN_PIECES ? n : MIN_PIECES;
}

pn_status pn_ingest_cut(pn_ingest *x) {
  const pn_ingest_source *s = &x->source;
  int64_t total = 0, cost = 0, images = 0, fit = images_that_fit(x), pieces;

  if (!(x->cut = calloc((size_t)s->n + 1, sizeof *x->cut)))
    return PN_FAIL(PN_ERR_NOMEM, "ingest: pieces of %lld files: out of memory", (long long)s->n);
  x->n_pieces = 0;
  x->capacity = 1;
  for (int64_t i = 0; i < s->n; i++) {
    total += cost_of(&s->file[i]);
    images += s->file[i].skip_reason ? 0 : 1;
  }
  pieces = pieces_wanted(x, images);
  images = 0;
  for (int64_t i = 0; i < s->n; i++) {
    int64_t more = s->file[i].skip_reason ? 0 : 1;
    bool enough = images >= MIN_IMAGES && cost >= total / pieces;
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
