/* ingest_piece.c -- a piece is a run of the sorted file list; one rank turns it into one shard. */
#include "data/ingest_image.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static pn_status take_piece(pn_ingest_worker *w, int64_t piece, pn_progress *bar) {
  pn_ingest *x = w->x;
  int64_t first = piece * x->per_piece, last = first + x->per_piece;
  int size = pn_comm_size(x->comm);
  pn_ingest_shard done;
  pn_status st;

  if (last > x->source.n) last = x->source.n;
  w->piece = piece;
  for (int64_t i = first; i < last; i++) {
    int64_t own = piece / size * x->per_piece + i - first; /* by this rank, so far */
    if ((st = pn_ingest_take_file(w, i)) != PN_OK) return st;
    pn_progress_update(bar, own * size < bar->total ? own * size : bar->total, NULL);
  }
  if (pn_shard_writer_count(w->writer) == 0) return PN_OK; /* nothing of it was usable */
  memset(&done, 0, sizeof done);
  done.piece = piece;
  st = pn_shard_writer_publish(w->writer, x->cfg->out, (int)piece, &done.shard);
  return st == PN_OK ? pn_ingest_array_add(&x->shards, &done) : st;
}

pn_status pn_ingest_pieces(pn_ingest *x) {
  const pn_ingest_config *cfg = x->cfg;
  pn_ingest_worker w = {.x = x};
  pn_shard_format format = {1, cfg->height, cfg->width, 8, x->classes, x->decoder, x->source.plan};
  pn_progress bar;
  pn_status st = PN_OK;

  pn_progress_start(&bar, "ingest", "files", x->source.n);
  PN_TRY(pn_dicom_reader_create(&w.reader));
  PN_TRY(pn_resizer_create(cfg->height, cfg->width, &w.resizer));
  PN_TRY(pn_shard_writer_create(&format, x->per_piece, &w.writer));
  for (int64_t p = pn_comm_rank(x->comm); p < x->n_pieces; p += pn_comm_size(x->comm))
    PN_TRY(take_piece(&w, p, &bar));
done:
  pn_progress_end(&bar);
  pn_dicom_reader_destroy(w.reader);
  pn_resizer_destroy(w.resizer);
  pn_shard_writer_destroy(w.writer);
  pn_gray_free(&w.image);
  free(w.boxes);
  return st;
}
