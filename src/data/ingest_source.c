/* ingest_source.c -- what rank 0 found, on every rank: file list, labels, plan digest. */
#include "base/digest.h"
#include "data/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pn_status pn_ingest_array_add(pn_ingest_array *a, const void *item) {
  if (a->n == a->capacity) {
    int64_t capacity = a->capacity ? 2 * a->capacity : 256;
    void *data = realloc(a->data, (size_t)capacity * a->item_bytes);
    if (!data)
      return PN_FAIL(PN_ERR_NOMEM, "ingest: out of memory for %lld records", (long long)capacity);
    a->data = data;
    a->capacity = capacity;
  }
  memcpy((char *)a->data + (size_t)a->n++ * a->item_bytes, item, a->item_bytes);
  return PN_OK;
}

void pn_ingest_source_free(pn_ingest_source *s) {
  free(s->list);
  for (int t = 0; t < PN_TEXT_COUNT; t++) {
    free(s->text[t].name);
    free(s->text[t].data);
  }
  free(s->file);
  pn_labels_free(&s->labels);
  *s = (pn_ingest_source){0};
}

/* A buffer of rank 0 (NULL is passed on as NULL) to all.  Collective. */
static pn_status share_bytes(pn_comm *c, char **data, size_t *bytes) {
  int64_t n = pn_comm_rank(c) == 0 ? (*data ? (int64_t)*bytes : -1) : 0;
  pn_status st = pn_bcast(c, "ingest sizes", &n, 1, PN_I64, 0);

  if (st != PN_OK || n < 0) return st;
  if (pn_comm_rank(c) != 0) {
    *data = malloc((size_t)n + 1);
    *bytes = (size_t)n;
  }
  st = *data ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "ingest: %lld bytes: out of memory", (long long)n);
  if ((st = pn_agree(c, st)) != PN_OK) return st;
  (*data)[n] = 0;
  return n > 0 ? pn_bcast(c, "ingest input list", *data, n, PN_U8, 0) : PN_OK;
}

static pn_status share_name(pn_comm *c, char **name) {
  size_t bytes = *name ? strlen(*name) : 0;
  return share_bytes(c, name, &bytes);
}

/* Images of all files of the list. */
static int64_t count_images(const pn_ingest_source *s) {
  const char *end = s->list + s->list_bytes;
  int64_t n = 0;

  for (const char *p = s->list; p < end; p += strlen(p) + 1)
    n += strtoll(strchr(p, ' ') + 1, NULL, 10);
  return n;
}

/* "SIZE IMAGES SKIP PATH\0" ... -> file[], one entry per image; the texts stay in list. */
static pn_status split_list(pn_ingest_source *s) {
  char *end = s->list + s->list_bytes, *next;
  int64_t n = count_images(s);

  if (!(s->file = calloc((size_t)n + 1, sizeof *s->file)))
    return PN_FAIL(PN_ERR_NOMEM, "ingest: list of %lld images: out of memory", (long long)n);
  for (char *p = s->list; p < end; p = next) {
    pn_ingest_file f = {.label = PN_LABEL_NONE};
    char *skip;
    next = p + strlen(p) + 1;
    f.size = strtoll(p, &p, 10);
    f.of = strtoll(p, &skip, 10);
    skip++;
    f.path = strchr(skip, ' ') + 1;
    if (*skip != '-') f.skip_reason = skip;
    *strchr(skip, ' ') = 0;
    for (; f.number < f.of; f.number++) s->file[s->n++] = f;
  }
  return PN_OK;
}

/* Everything that shapes the bytes of the shards; before the texts are cut up. */
static pn_status plan_digest(const pn_ingest_config *cfg, pn_ingest_source *s) {
  const pn_dicom_rules *dicom = &cfg->dicom;
  char options[1024];
  pn_sha256 *sha = NULL;
  pn_status st = pn_sha256_create(&sha);

  if (st != PN_OK) return st;
  snprintf(options, sizeof options,
           "pneuma plan 5; %s; %dx%lldx%lld; %d bits; %s; %lld MB; salt %.200s; dicom %d %d %d; "
           "columns %.200s; "
           "only %.300s; splits %d %d;",
           s->kind->name, s->channels, (long long)cfg->height, (long long)cfg->width, cfg->bits,
           pn_fit_name(cfg->fit), (long long)cfg->shard_mb, cfg->salt, (int)dicom->frames,
           dicom->window, dicom->reject_burned_in, cfg->columns, cfg->only, cfg->new_splits,
           cfg->reject_leaks);
  pn_sha256_update(sha, options, strlen(options) + 1);
  pn_sha256_update(sha, cfg->test_fold, strlen(cfg->test_fold) + 1);
  pn_sha256_update(sha, cfg->val_fold, strlen(cfg->val_fold) + 1);
  pn_sha256_update(sha, s->list, s->list_bytes);
  for (int t = 0; t < PN_TEXT_COUNT; t++) {
    if (s->text[t].data) pn_sha256_update(sha, s->text[t].data, s->text[t].bytes);
    pn_sha256_update(sha, ";", 1);
  }
  pn_sha256_hex(sha, s->plan);
  pn_sha256_destroy(sha);
  return PN_OK;
}

static pn_status prepare(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  pn_status st;

  if ((st = plan_digest(x->cfg, s)) != PN_OK) return st;
  if ((st = split_list(s)) != PN_OK) return st;
  return s->kind->prepare(x);
}

/* Number of the kind and channels. */
static pn_status share_choices(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  int64_t choice[2] = {s->kind ? pn_kind_find(s->kind->name) : -1, s->channels};
  pn_status st = pn_bcast(x->comm, "ingest kind", choice, 2, PN_I64, 0);

  if (st != PN_OK) return st;
  s->kind = pn_kind_get((int)choice[0]);
  s->channels = (int)choice[1];
  return PN_OK;
}

pn_status pn_ingest_share(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  pn_status st = PN_OK;

  PN_TRY(share_choices(x));
  PN_TRY(share_bytes(x->comm, &s->list, &s->list_bytes));
  for (int t = 0; t < PN_TEXT_COUNT; t++) {
    PN_TRY(share_bytes(x->comm, &s->text[t].data, &s->text[t].bytes));
    PN_TRY(share_name(x->comm, &s->text[t].name));
  }
  PN_TRY(pn_ingest_count_frames(x));
  PN_TRY(pn_agree(x->comm, prepare(x)));
done:
  return st;
}
