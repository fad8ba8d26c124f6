/* ingest_piece.c -- a piece is a run of the sorted file list; one rank turns it into one shard.
 * Ranks draw the next piece when they are free.  A piece that an earlier, unfinished job completed
 * is taken from its journal. */
#include "data/ingest_image.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/signals.h"
#include "comm/handout.h"
#include "data/ingest_journal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  pn_ingest_worker worker;
  pn_handout *handout;
  pn_progress bar;
  bool stop; /* another rank has failed */
} walk;

static pn_status start_worker(pn_ingest *x, pn_ingest_worker *w) {
  const pn_shard_format *f = &x->format;
  pn_resizer_format size = {f->channels, f->height, f->width, f->bits, x->cfg->fit};
  pn_status st;

  w->x = x;
  if ((st = pn_dicom_reader_create(&w->reader)) != PN_OK) return st;
  pn_dicom_reader_rules(w->reader, &x->cfg->dicom);
  if ((st = pn_resizer_create(&size, &w->resizer)) != PN_OK) return st;
  return pn_shard_writer_create(&x->format, x->capacity, &w->writer);
}

static void end_worker(pn_ingest_worker *w) {
  pn_dicom_reader_destroy(w->reader);
  pn_resizer_destroy(w->resizer);
  pn_shard_writer_destroy(w->writer);
  pn_gray_free(&w->image);
  pn_gray_free(&w->scratch);
  pn_input_free(&w->input);
  free(w->boxes);
}

/* Files before the last piece given out are done or in work; the rest of this one is not. */
static void show_progress(walk *k, int64_t file, int64_t last) {
  const pn_ingest *x = k->worker.x;
  if (pn_comm_rank(x->comm) == 0)
    pn_progress_update(&k->bar, x->cut[pn_handout_given(k->handout)] - (last - file), NULL);
}

/* Slurm's wish that the job ends: this rank leaves its piece, the others hear of it as of a
 * failure.
 */
static pn_status heed_signals(void) {
  int number = pn_signals_caught();

  if (number == 0) return PN_OK;
  return PN_FAIL(PN_ERR_STOPPED,
                 "stopped by %s; the same command keeps the finished shards and "
                 "goes on",
                 pn_signal_name(number));
}

static pn_status take_files(walk *k, int64_t piece) {
  const pn_ingest *x = k->worker.x;
  int64_t last = x->cut[piece + 1];
  pn_status st = PN_OK;

  for (int64_t i = x->cut[piece]; i < last && !k->stop; i++) {
    pn_watchdog_enter(x->source.file[i].path, x->source.file[i].size);
    st = pn_ingest_take_file(&k->worker, i);
    pn_watchdog_leave();
    if (st == PN_OK) st = pn_handout_poll(k->handout, &k->stop);
    if (st == PN_OK) st = heed_signals();
    if (st != PN_OK) return st;
    show_progress(k, i + 1, last);
  }
  return PN_OK;
}

static pn_status publish(pn_ingest_worker *w, const char *path) {
  pn_ingest *x = w->x;
  pn_ingest_shard done;
  int64_t bytes = 0;
  pn_status st;

  memset(&done, 0, sizeof done);
  done.piece = w->piece;
  pn_watchdog_enter(path, pn_shard_writer_count(w->writer));
  st = pn_shard_writer_publish(w->writer, x->cfg->out, (int)w->piece, &done.shard);
  if (st == PN_OK) st = pn_crc32c_file(path, &done.file_crc, &bytes);
  pn_watchdog_leave();
  return st == PN_OK ? pn_ingest_array_add(&x->shards, &done) : st;
}

/* A piece without a usable image has no shard; an earlier try may have left one. */
static pn_status publish_or_remove(pn_ingest_worker *w) {
  char path[PATH_MAX];
  pn_status st = pn_ingest_shard_path(w->x, w->piece, path, sizeof path);

  if (st != PN_OK) return st;
  if (pn_shard_writer_count(w->writer) > 0) return publish(w, path);
  if (unlink(path) == 0 || errno == ENOENT) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

static pn_status take_piece(walk *k, int64_t piece) {
  pn_ingest *x = k->worker.x;
  pn_ingest_mark mark = pn_ingest_mark_now(x);
  uint32_t stamp;
  bool good = false;
  pn_status st = pn_ingest_journal_load(x, piece, &good);

  x->resumed += good;
  if (st != PN_OK || good) return st;
  stamp = pn_ingest_stamp(x, piece);
  k->worker.piece = piece;
  if ((st = take_files(k, piece)) != PN_OK || k->stop) return st;
  if ((st = publish_or_remove(&k->worker)) != PN_OK) return st;
  return pn_ingest_journal_save(x, piece, stamp, &mark);
}

static pn_status take_pieces(walk *k) {
  int64_t piece = 0;
  pn_status st = PN_OK;

  while (st == PN_OK && piece >= 0 && !k->stop) {
    st = pn_handout_next(k->handout, &piece);
    if (st == PN_OK && piece >= 0) st = take_piece(k, piece);
  }
  return st;
}

pn_status pn_ingest_pieces(pn_ingest *x) {
  walk k = {.stop = false};
  pn_status st, end;

  PN_TRY(pn_agree(x->comm, pn_handout_create(x->comm, x->n_pieces, &k.handout)));
  pn_progress_start(&k.bar, "ingest", "files", x->source.n);
  st = start_worker(x, &k.worker);
  if (st == PN_OK) st = take_pieces(&k);
  end = pn_handout_end(k.handout, st != PN_OK);
  if (st == PN_OK) st = end;
  pn_progress_end(&k.bar);
  end_worker(&k.worker);
  st = pn_agree(x->comm, st);
done:
  pn_handout_destroy(k.handout);
  return st;
}
