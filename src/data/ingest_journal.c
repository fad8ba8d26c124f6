/* ingest_journal.c -- save and load one piece; see ingest_journal.h. */
#include "data/ingest_journal.h"

#include "base/digest.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARRAYS = 4 };

/* A file is this, the items of the four arrays, and the CRC-32C of all that. */
struct header {
  char magic[16], plan[72];
  int64_t piece, n[ARRAYS], item_bytes[ARRAYS];
  uint32_t stamp, padding;
};
static const char magic[16] = "pneuma piece 1";

pn_ingest_mark pn_ingest_mark_now(const pn_ingest *x) {
  return (pn_ingest_mark){x->events.n, x->records.n, x->shards.n, x->hits.n};
}

static void list_arrays(pn_ingest *x, pn_ingest_array *array[ARRAYS]) {
  array[0] = &x->events;
  array[1] = &x->records;
  array[2] = &x->shards;
  array[3] = &x->hits;
}

pn_status pn_ingest_shard_path(const pn_ingest *x, int64_t piece, char *path, size_t bytes) {
  char name[PN_SHARD_NAME_BYTES];
  snprintf(name, sizeof name, "shard-%05lld.h5", (long long)piece);
  return pn_path_join(path, bytes, x->cfg->out, name);
}

static pn_status journal_path(const pn_ingest *x, int64_t piece, char *path, size_t bytes) {
  char name[48];
  snprintf(name, sizeof name, ".ingest/%05lld", (long long)piece);
  return pn_path_join(path, bytes, x->cfg->out, name);
}

uint32_t pn_ingest_stamp(const pn_ingest *x, int64_t piece) {
  const char *last = NULL; /* path whose images came just before */
  uint32_t crc = 0;

  for (int64_t i = x->cut[piece]; i < x->cut[piece + 1]; i++) {
    char path[PATH_MAX];
    struct stat s;
    int64_t seen[3] = {-1, 0, 0};
    if (x->source.file[i].path == last) continue;
    last = x->source.file[i].path;
    if (!x->source.file[i].skip_reason &&
        pn_path_join(path, sizeof path, x->cfg->in, x->source.file[i].path) == PN_OK &&
        stat(path, &s) == 0) {
      seen[0] = s.st_size;
      seen[1] = s.st_mtim.tv_sec;
      seen[2] = s.st_mtim.tv_nsec;
    }
    crc = pn_crc32c(crc, seen, sizeof seen);
  }
  return crc;
}

static struct header make_header(const pn_ingest *x, int64_t piece, uint32_t stamp) {
  struct header h;

  memset(&h, 0, sizeof h);
  memcpy(h.magic, magic, sizeof h.magic);
  snprintf(h.plan, sizeof h.plan, "%s", x->source.plan);
  h.piece = piece;
  h.stamp = stamp;
  return h;
}

pn_status pn_ingest_journal_save(const pn_ingest *x, int64_t piece, uint32_t stamp,
                                 const pn_ingest_mark *mark) {
  const int64_t from[ARRAYS] = {mark->events, mark->records, mark->shards, mark->hits};
  struct header h = make_header(x, piece, stamp);
  pn_ingest_array *array[ARRAYS];
  char path[PATH_MAX], *text = NULL;
  size_t bytes = sizeof h, at = sizeof h;
  uint32_t crc;
  pn_status st = PN_OK;

  list_arrays((pn_ingest *)x, array);
  for (int k = 0; k < ARRAYS; k++) {
    h.n[k] = array[k]->n - from[k];
    h.item_bytes[k] = (int64_t)array[k]->item_bytes;
    bytes += (size_t)(h.n[k] * h.item_bytes[k]);
  }
  if (!(text = malloc(bytes + sizeof crc))) return PN_FAIL(PN_ERR_NOMEM, "journal: out of memory");
  memcpy(text, &h, sizeof h);
  for (int k = 0; k < ARRAYS; k++) {
    size_t n = (size_t)(h.n[k] * h.item_bytes[k]);
    if (n > 0) memcpy(text + at, (char *)array[k]->data + from[k] * h.item_bytes[k], n);
    at += n;
  }
  crc = pn_crc32c(0, text, bytes);
  memcpy(text + bytes, &crc, sizeof crc);
  PN_TRY(journal_path(x, piece, path, sizeof path));
  PN_TRY(pn_file_write_unsynced(path, text, bytes + sizeof crc));
done:
  free(text);
  return st;
}

/* Is this text a whole journal of this very piece? */
static bool is_whole(const pn_ingest *x, int64_t piece, const char *text, size_t bytes,
                     struct header *h) {
  pn_ingest_array *array[ARRAYS];
  size_t need = sizeof *h + sizeof(uint32_t);
  uint32_t crc;

  if (bytes < need) return false;
  memcpy(h, text, sizeof *h);
  memcpy(&crc, text + bytes - sizeof crc, sizeof crc);
  if (crc != pn_crc32c(0, text, bytes - sizeof crc) || memcmp(h->magic, magic, sizeof magic) != 0 ||
      h->piece != piece || strncmp(h->plan, x->source.plan, sizeof h->plan) != 0)
    return false;
  list_arrays((pn_ingest *)x, array);
  for (int k = 0; k < ARRAYS; k++) {
    if (h->item_bytes[k] != (int64_t)array[k]->item_bytes || h->n[k] < 0) return false;
    need += (size_t)(h->n[k] * h->item_bytes[k]);
  }
  return need == bytes && h->n[2] == (h->n[1] > 0) && h->stamp == pn_ingest_stamp(x, piece);
}

/* The shard is there, byte for byte; a piece without images has none. */
static bool shard_is_good(const pn_ingest *x, int64_t piece, const struct header *h,
                          const char *shards) {
  char path[PATH_MAX];
  pn_ingest_shard s;
  uint32_t crc = 0;
  int64_t bytes = 0;

  if (h->n[2] == 0) return true;
  memcpy(&s, shards, sizeof s);
  return pn_ingest_shard_path(x, piece, path, sizeof path) == PN_OK && pn_file_exists(path) &&
         pn_crc32c_file(path, &crc, &bytes) == PN_OK && bytes == s.shard.bytes && crc == s.file_crc;
}

static pn_status add_all(pn_ingest *x, const struct header *h, const char *items) {
  pn_ingest_array *array[ARRAYS];
  pn_status st = PN_OK;

  list_arrays(x, array);
  for (int k = 0; k < ARRAYS; k++)
    for (int64_t i = 0; i < h->n[k] && st == PN_OK; i++, items += h->item_bytes[k])
      st = pn_ingest_array_add(array[k], items);
  return st;
}

pn_status pn_ingest_journal_load(pn_ingest *x, int64_t piece, bool *good) {
  char path[PATH_MAX], *text = NULL;
  struct header h;
  size_t bytes = 0;
  pn_status st;

  *good = false;
  PN_TRY(journal_path(x, piece, path, sizeof path));
  if (!pn_file_exists(path) || pn_file_read(path, &text, &bytes) != PN_OK) goto done;
  if (!is_whole(x, piece, text, bytes, &h)) goto done;
  if (!shard_is_good(x, piece, &h,
                     text + sizeof h + h.n[0] * h.item_bytes[0] + h.n[1] * h.item_bytes[1]))
    goto done;
  PN_TRY(add_all(x, &h, text + sizeof h));
  *good = true;
done:
  free(text);
  return st;
}
