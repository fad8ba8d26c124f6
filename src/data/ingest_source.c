/* ingest_source.c -- what rank 0 found, on every rank: file list, labels, plan digest. */
#include "data/ingest_internal.h"

#include "base/digest.h"

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
  free(s->labels_text);
  free(s->classes_text);
  free(s->labels_name);
  free(s->classes_name);
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

/* "SIZE SKIP PATH\0" ... -> file[]; the texts stay in list. */
static pn_status split_list(pn_ingest_source *s) {
  char *end = s->list + s->list_bytes;
  int64_t n = 0;

  for (char *p = s->list; p < end; p += strlen(p) + 1) n++;
  if (!(s->file = calloc((size_t)n + 1, sizeof *s->file)))
    return PN_FAIL(PN_ERR_NOMEM, "ingest: list of %lld files: out of memory", (long long)n);
  for (char *p = s->list; p < end;) {
    char *skip, *next = p + strlen(p) + 1;
    pn_ingest_file *f = &s->file[s->n++];
    f->size = strtoll(p, &skip, 10);
    f->images = 1;
    skip++;
    f->path = strchr(skip, ' ') + 1;
    if (*skip != '-') f->skip_reason = skip;
    *strchr(skip, ' ') = 0;
    p = next;
  }
  return PN_OK;
}

/* Everything that shapes the bytes of the shards; before the texts are cut up. */
static pn_status plan_digest(const pn_ingest_config *cfg, pn_ingest_source *s) {
  const pn_dicom_rules *dicom = &cfg->dicom;
  char options[512];
  pn_sha256 *sha = NULL;
  pn_status st = pn_sha256_create(&sha);

  if (st != PN_OK) return st;
  snprintf(options, sizeof options,
           "pneuma plan 3; rsna; %lldx%lld; %d bits; %s; %lld MB; salt %.200s; dicom %d %d %d;",
           (long long)cfg->height, (long long)cfg->width, cfg->bits, pn_fit_name(cfg->fit),
           (long long)cfg->shard_mb, cfg->salt, (int)dicom->frames, dicom->window,
           dicom->reject_burned_in);
  pn_sha256_update(sha, options, strlen(options) + 1);
  pn_sha256_update(sha, s->list, s->list_bytes);
  pn_sha256_update(sha, s->labels_text, s->labels_bytes);
  pn_sha256_update(sha, ";", 1);
  if (s->classes_text) pn_sha256_update(sha, s->classes_text, s->classes_bytes);
  pn_sha256_hex(sha, s->plan);
  pn_sha256_destroy(sha);
  return PN_OK;
}

static pn_status prepare(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  pn_csv_text labels = {s->labels_name, s->labels_text, s->labels_bytes};
  pn_csv_text classes = {s->classes_name, s->classes_text, s->classes_bytes};
  pn_status st;

  if ((st = plan_digest(x->cfg, s)) != PN_OK) return st;
  if ((st = split_list(s)) != PN_OK) return st;
  return pn_labels_parse(labels, classes, &s->labels);
}

pn_status pn_ingest_share(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  pn_status st = PN_OK;

  PN_TRY(share_bytes(x->comm, &s->list, &s->list_bytes));
  PN_TRY(share_bytes(x->comm, &s->labels_text, &s->labels_bytes));
  PN_TRY(share_bytes(x->comm, &s->classes_text, &s->classes_bytes));
  PN_TRY(share_name(x->comm, &s->labels_name));
  PN_TRY(share_name(x->comm, &s->classes_name));
  PN_TRY(pn_agree(x->comm, prepare(x)));
done:
  return st;
}
