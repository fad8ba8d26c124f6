/* ingest_merge.c -- every rank learns every record; duplicates and splits are then decided from
 * the sorted records alone, so the number of ranks cannot matter. */
#include "data/dataset.h"
#include "data/ingest_internal.h"

#include <stdlib.h>
#include <string.h>

/* Replace a rank's array by that of all ranks.  Collective. */
static pn_status gather(pn_comm *c, const char *what, pn_ingest_array *a) {
  int size = pn_comm_size(c);
  int64_t mine = a->n * (int64_t)a->item_bytes, total = 0;
  int64_t *counts = calloc((size_t)size, sizeof *counts);
  void *all = NULL;
  pn_status st = counts ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "ingest: out of memory");

  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_allgather(c, what, &mine, counts, 1, PN_I64));
  for (int r = 0; r < size; r++) total += counts[r];
  all = malloc((size_t)total + 1);
  st = all ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "ingest: %lld bytes: out of memory", (long long)total);
  PN_TRY(pn_agree(c, st));
  if (total > 0) PN_TRY(pn_allgatherv(c, what, a->data ? a->data : all, all, counts, PN_U8));
  free(a->data);
  a->data = all;
  a->n = a->capacity = total / (int64_t)a->item_bytes;
  all = NULL;
done:
  free(all);
  free(counts);
  return st;
}

static int by_file(const void *a, const void *b) {
  const pn_ingest_record *x = a, *y = b;
  return (x->file > y->file) - (x->file < y->file);
}

static int by_file_and_line(const void *a, const void *b) {
  const pn_ingest_event *x = a, *y = b;
  if (x->file != y->file) return x->file > y->file ? 1 : -1;
  if (x->outcome != y->outcome) return x->outcome > y->outcome ? 1 : -1;
  return strcmp(x->why.tag, y->why.tag);
}

static int by_piece(const void *a, const void *b) {
  const pn_ingest_shard *x = a, *y = b;
  return (x->piece > y->piece) - (x->piece < y->piece);
}

static int by_number(const void *a, const void *b) {
  const int64_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

/* Of sorted numbers. */
static int64_t count_different(const pn_ingest_array *a) {
  const int64_t *v = a->data;
  int64_t n = 0;
  for (int64_t i = 0; i < a->n; i++) n += i == 0 || v[i] != v[i - 1];
  return n;
}

static void sort(pn_ingest_array *a, int (*compare)(const void *, const void *)) {
  if (a->n > 1) qsort(a->data, (size_t)a->n, a->item_bytes, compare);
}

/* Open addressing: the records kept so far, by one of two keys. */
struct set {
  int64_t *slot; /* record + 1; 0 = free */
  uint64_t mask;
};

static pn_status set_make(struct set *s, int64_t n) {
  uint64_t size = 16;

  while (size < 2 * (uint64_t)n) size *= 2;
  s->mask = size - 1;
  s->slot = calloc(size, sizeof *s->slot);
  return s->slot ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "ingest: duplicates: out of memory");
}

static bool same_pixels(const pn_ingest_record *a, const pn_ingest_record *b) {
  return a->frame_crc == b->frame_crc && a->height == b->height && a->width == b->width &&
         memcmp(a->sha256, b->sha256, sizeof a->sha256) == 0;
}

static bool same_uid(const pn_ingest_record *a, const pn_ingest_record *b) {
  return a->uid[0] == b->uid[0] && a->uid[1] == b->uid[1];
}

/* Slot of an equal record, or the free slot where r belongs. */
static int64_t *set_find(const struct set *s, const pn_ingest_record *all,
                         const pn_ingest_record *r, uint64_t key,
                         bool (*same)(const pn_ingest_record *, const pn_ingest_record *)) {
  uint64_t i = key & s->mask;
  while (s->slot[i] && !same(&all[s->slot[i] - 1], r)) i = (i + 1) & s->mask;
  return &s->slot[i];
}

static void forget_given(pn_ingest *x) {
  pn_ingest_record *r = x->records.data;
  for (int64_t i = 0; i < x->records.n; i++) r[i].given = -1;
}

/* "train ", or nothing. */
static const char *split_text(int given) {
  static const char *const names[] = {"train ", "val ", "test "};
  return given < 0 ? "" : names[given];
}

/* r is the same as `first`.  Across given splits it is a leak; with another class a contradiction.
 */
static pn_status add_duplicate(pn_ingest *x, const pn_ingest_record *r,
                               const pn_ingest_record *first, bool by_uid) {
  const char *reason = by_uid ? "duplicate_sop_uid" : "duplicate_pixels";
  pn_ingest_event e;

  memset(&e, 0, sizeof e);
  e.file = r->file;
  e.outcome = PN_OUT_DUPLICATE;
  if (r->given >= 0 && first->given >= 0 && r->given != first->given) {
    reason = "leak_pixels";
    x->leaks++;
  } else if (r->label != first->label) {
    reason = "duplicate_other_class";
  }
  pn_reject_set(&e.why, reason, by_uid ? "(0008,0018)" : NULL, "same as %s%.76s",
                split_text(first->given), x->source.file[first->file].path);
  return pn_ingest_array_add(&x->events, &e);
}

struct sets {
  struct set uids, pixels;
};

/* Keep record i, or drop it because an equal one is kept. */
static pn_status keep_or_drop(pn_ingest *x, struct sets *s, int64_t i) {
  pn_ingest_record *all = x->records.data, *r = &all[i];
  int64_t *uid, *pixel;
  uint64_t key;

  memcpy(&key, r->sha256, sizeof key);
  uid = set_find(&s->uids, all, r, r->uid[0], same_uid);
  pixel = set_find(&s->pixels, all, r, key, same_pixels);
  if (*pixel || (r->uid[0] && *uid)) {
    bool by_uid = r->uid[0] && *uid;
    r->split = -1;
    x->dropped++;
    return add_duplicate(x, r, &all[(by_uid ? *uid : *pixel) - 1], by_uid);
  }
  *pixel = i + 1;
  if (r->uid[0]) *uid = i + 1;
  return PN_OK;
}

/* The first in the order of the files is kept, but one given as test before one given as val or
 * train: what is tested on must not be trained on. */
static pn_status find_duplicates(pn_ingest *x) {
  static const int order[] = {PN_TEST, PN_VAL, PN_TRAIN, -1};
  const pn_ingest_record *all = x->records.data;
  struct sets s = {{0}, {0}};
  pn_status st = PN_OK;

  PN_TRY(set_make(&s.uids, x->records.n));
  PN_TRY(set_make(&s.pixels, x->records.n));
  for (size_t k = 0; k < sizeof order / sizeof *order; k++)
    for (int64_t i = 0; i < x->records.n; i++)
      if (all[i].given == order[k]) PN_TRY(keep_or_drop(x, &s, i));
done:
  free(s.uids.slot);
  free(s.pixels.slot);
  return st;
}

static void count_events(pn_ingest *x) {
  const pn_ingest_event *e = x->events.data;

  for (int64_t i = 0; i < x->events.n; i++) switch ((pn_outcome)e[i].outcome) {
    case PN_OUT_REJECTED:
      x->rejected++;
      break;
    case PN_OUT_DUPLICATE:
      x->duplicates++;
      break;
    case PN_OUT_SKIPPED:
      x->skipped++;
      break;
    case PN_OUT_LABEL_ROW:
      x->bad_label_rows++;
      break;
    case PN_OUT_LEAK:
      break;
    }
}

static int64_t count_kept(const pn_ingest *x) {
  const pn_ingest_record *r = x->records.data;
  int64_t n = 0;
  for (int64_t i = 0; i < x->records.n; i++) n += r[i].split >= 0;
  return n;
}

/* listed = written + rejected + duplicates + skipped, or something was lost. */
pn_status pn_ingest_check_account(const pn_ingest *x) {
  const pn_ingest_config *cfg = x->cfg;
  const pn_ingest_event *e = x->events.data;
  int64_t written = count_kept(x), stored = 0;
  const pn_ingest_shard *shard = x->shards.data;

  for (int64_t i = 0; i < x->shards.n; i++) stored += shard[i].shard.images;
  if (x->source.n != written + x->rejected + x->duplicates + x->skipped || stored != x->records.n)
    return PN_FAIL(PN_ERR_FORMAT,
                   "files were lost: listed %lld, written %lld + rejected %lld + duplicates %lld + "
                   "skipped %lld (%lld images stored, %lld recorded): this is a bug",
                   (long long)x->source.n, (long long)written, (long long)x->rejected,
                   (long long)x->duplicates, (long long)x->skipped, (long long)stored,
                   (long long)x->records.n);
  if (cfg->max_rejects >= 0 && x->rejected > cfg->max_rejects)
    return PN_FAIL(PN_ERR_FORMAT,
                   "%lld files were rejected, ingest.max_rejects allows %lld: see %s/rejects.csv",
                   (long long)x->rejected, (long long)cfg->max_rejects, cfg->out);
  if (written == 0) /* then there is at least one event */
    return PN_FAIL(PN_ERR_FORMAT,
                   "none of %lld files could be used (the first: %s %s): see "
                   "%s/rejects.csv",
                   (long long)x->source.n, e[0].why.reason, e[0].why.value, cfg->out);
  for (int64_t i = 0; cfg->require_labels && i < x->events.n; i++)
    if (strcmp(e[i].why.reason, "no_label") == 0)
      return PN_FAIL(PN_ERR_FORMAT, "%s has no label and ingest.require_labels is set",
                     x->source.file[e[i].file].path);
  return PN_OK;
}

pn_status pn_ingest_merge(pn_ingest *x) {
  pn_status st = PN_OK;

  PN_TRY(gather(x->comm, "ingest events", &x->events));
  PN_TRY(gather(x->comm, "ingest records", &x->records));
  PN_TRY(gather(x->comm, "ingest shards", &x->shards));
  PN_TRY(gather(x->comm, "ingest labels used", &x->hits));
  PN_TRY(pn_allreduce(x->comm, "ingest pieces resumed", &x->resumed, 1, PN_I64, PN_SUM));
  sort(&x->records, by_file);
  sort(&x->shards, by_piece);
  if (x->cfg->new_splits) forget_given(x);
  PN_TRY(pn_agree(x->comm, find_duplicates(x)));
  PN_TRY(pn_agree(x->comm, pn_ingest_leaks(x)));
  sort(&x->events, by_file_and_line);
  PN_TRY(pn_agree(x->comm, pn_ingest_splits(x)));
  count_events(x);
  sort(&x->hits, by_number);
  x->labels_without_file = x->source.labels.n - count_different(&x->hits);
  st =
      pn_comm_rank(x->comm) == 0 ? pn_ingest_write_rejects(x) : PN_OK; /* also when we fail below */
  PN_TRY(pn_agree(x->comm, st));
  PN_TRY(pn_agree(x->comm, pn_ingest_check_account(x)));
done:
  return st;
}
