/* ingest.c -- the order of an ingest; the steps are in ingest_*.c. */
#include "data/ingest.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "data/dicom.h"
#include "data/ingest_out.h"
#include "data/ingest_ties.h"
#include "data/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void pn_ingest_config_init(pn_ingest_config *cfg) {
  *cfg = (pn_ingest_config){.kind = "auto",
                            .labels = "",
                            .classes = "",
                            .groups = "",
                            .columns = "",
                            .only = "",
                            .test_fold = "",
                            .val_fold = "",
                            .salt = "pneuma",
                            .height = 128,
                            .width = 128,
                            .bits = 8,
                            .fit = PN_FIT_STRETCH,
                            .seed = 1,
                            .val_share = 0.15,
                            .test_share = 0.15,
                            .shard_mb = 512,
                            .max_rejects = -1};
}

static pn_status check_config(const pn_ingest_config *cfg) {
  if (strcmp(cfg->kind, "auto") != 0 && pn_kind_find(cfg->kind) < 0)
    return PN_FAIL(PN_ERR_ARG, "ingest.kind=%s: there is no such kind", cfg->kind);
  if (cfg->channels != 0 && cfg->channels != 1 && cfg->channels != 3)
    return PN_FAIL(PN_ERR_ARG, "ingest.channels=%d: expected 1, 3 or auto", cfg->channels);
  if (cfg->height < 1 || cfg->width < 1 || cfg->height > 8192 || cfg->width > 8192)
    return PN_FAIL(PN_ERR_ARG, "size %lldx%lld: each side must be 1 to 8192 pixels",
                   (long long)cfg->height, (long long)cfg->width);
  if (!(cfg->val_share >= 0 && cfg->test_share >= 0 && cfg->val_share + cfg->test_share < 1))
    return PN_FAIL(PN_ERR_ARG, "shares val %g and test %g: their sum must be below 1",
                   cfg->val_share, cfg->test_share);
  if (cfg->shard_mb < 1 || cfg->shard_mb > 4096)
    return PN_FAIL(PN_ERR_ARG, "shard_mb %lld: expected 1 to 4096", (long long)cfg->shard_mb);
  return PN_OK;
}

/* Names of the classes with commas between. */
static pn_status join_classes(pn_ingest *x) {
  const pn_labels *l = &x->source.labels;

  if (!(x->classes = calloc((size_t)l->n_classes + 1, PN_CLASS_BYTES + 1)))
    return PN_FAIL(PN_ERR_NOMEM, "classes: out of memory");
  for (int i = 0; i < l->n_classes; i++) {
    if (i > 0) strcat(x->classes, ",");
    strcat(x->classes, l->class_name[i]);
  }
  return PN_OK;
}

static pn_status describe(pn_ingest *x) {
  pn_status st = join_classes(x);

  snprintf(x->decoder, sizeof x->decoder,
           "8-bit JPEG: libjpeg, islow DCT; window or min..max above 8 bits; "
           "fit %s, area average down, linear up",
           pn_fit_name(x->cfg->fit));
  x->format = (pn_shard_format){.channels = x->source.channels,
                                .height = x->cfg->height,
                                .width = x->cfg->width,
                                .bits = x->cfg->bits,
                                .classes = x->classes,
                                .decoder = x->decoder,
                                .plan = x->source.plan};
  return st;
}

/* Rank 0 looks, all know.  *previous: the index that is there already, or NULL. */
static pn_status prepare(pn_ingest *x, pn_lock *lock, json_t **previous) {
  bool first = pn_comm_rank(x->comm) == 0;
  char *text = NULL;
  size_t bytes = 0;
  int64_t n = 0;
  pn_status st = check_config(x->cfg);

  if (st == PN_OK && first) st = pn_ingest_list(x->cfg, &x->source);
  PN_TRY(pn_agree(x->comm, st));
  PN_TRY(pn_ingest_share(x));
  st = describe(x);
  if (st == PN_OK) st = pn_ingest_cut(x);
  if (st == PN_OK && first) st = pn_lock_take(x->cfg->out, ".ingest.lock", "ingest", lock);
  if (st == PN_OK && first) st = pn_ingest_previous(x, &text, &bytes);
  PN_TRY(pn_agree(x->comm, st));
  n = text ? (int64_t)bytes : 0;
  PN_TRY(pn_bcast(x->comm, "ingest previous", &n, 1, PN_I64, 0));
  if (n == 0) goto done;
  if (!first) text = malloc((size_t)n);
  PN_TRY(pn_agree(x->comm, text ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "index: out of memory")));
  PN_TRY(pn_bcast(x->comm, "ingest previous", text, n, PN_U8, 0));
  *previous = json_loadb(text, (size_t)n, 0, NULL);
  if (!*previous) st = PN_FAIL(PN_ERR_FORMAT, "%s/%s is no JSON", x->cfg->out, PN_INDEX_NAME);
done:
  free(text);
  return st;
}

/* The shards are on the disk: now their names, then the index; the journal is of no use any more.
 */
static pn_status publish(const pn_ingest *x, const pn_lock *lock, json_t *index) {
  pn_status st = pn_lock_check(lock);

  if (st != PN_OK || (st = pn_ingest_write_report(x, index)) != PN_OK) return st;
  if ((st = pn_file_sync(x->cfg->out)) != PN_OK) return st;
  if ((st = pn_ingest_write_index(x, index)) != PN_OK) return st;
  return pn_ingest_forget(x->cfg->out);
}

static pn_status convert(pn_ingest *x, const pn_lock *lock, json_t **index) {
  pn_status st = PN_OK;

  PN_TRY(pn_ingest_pieces(x));
  PN_TRY(pn_ingest_merge(x));
  if (pn_comm_rank(x->comm) == 0) pn_ingest_warn_classes(x);
  PN_TRY(pn_agree(x->comm, pn_ingest_sync(x)));
  st = pn_ingest_index(x, index);
  if (st == PN_OK) st = pn_ingest_check_index(x, *index);
  PN_TRY(pn_agree(x->comm, st));
  if (pn_comm_rank(x->comm) == 0) pn_ingest_warn_ties(*index);
  if (pn_comm_rank(x->comm) == 0) st = publish(x, lock, *index);
  PN_TRY(pn_agree(x->comm, st));
done:
  return st;
}

static int64_t own_peak_bytes(void) {
  struct rusage u;
  return getrusage(RUSAGE_SELF, &u) == 0 ? (int64_t)u.ru_maxrss * 1024 : 0;
}

pn_status pn_ingest_run(const pn_ingest_config *cfg, pn_comm *c, pn_ingest_result *out) {
  pn_ingest x = {.cfg = cfg, .comm = c};
  json_t *index = NULL;
  double start = pn_now();
  pn_lock lock = {.fd = -1};
  bool complete;
  pn_status st = PN_OK;

  *out = (pn_ingest_result){0};
  x.events.item_bytes = sizeof(pn_ingest_event);
  x.records.item_bytes = sizeof(pn_ingest_record);
  x.shards.item_bytes = sizeof(pn_ingest_shard);
  x.hits.item_bytes = sizeof(int64_t);
  PN_TRY(prepare(&x, &lock, &index));
  complete = index != NULL;
  if (!complete) PN_TRY(convert(&x, &lock, &index));
  PN_TRY(pn_agree(c, pn_ingest_result_of_index(index, out)));
  out->already_complete = complete;
  out->resumed = x.resumed;
  out->peak_bytes = own_peak_bytes();
  PN_TRY(pn_allreduce(c, "ingest memory", &out->peak_bytes, 1, PN_I64, PN_MAX));
  out->seconds = pn_now() - start;
  if (!complete && out->seconds > 0) out->images_per_s = (double)out->written / out->seconds;
done:
  pn_lock_release(&lock);
  json_decref(index);
  free(x.events.data);
  free(x.records.data);
  free(x.shards.data);
  free(x.hits.data);
  free(x.cut);
  free(x.classes);
  pn_ingest_source_free(&x.source);
  return st;
}

json_t *pn_ingest_result_json(const pn_ingest_result *r) {
  json_t *classes = json_object(), *splits = json_object();

  for (int i = 0; i < r->n_classes; i++)
    json_object_set_new(classes, r->class_name[i], json_integer(r->class_count[i]));
  for (int i = 0; i < PN_SPLIT_COUNT; i++)
    json_object_set_new(splits, pn_split_name((pn_split)i), json_integer(r->split_count[i]));
  return json_pack(
      "{s:s,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:b,s:s}", "kind",
      r->kind, "channels", r->channels, "listed", (json_int_t)r->listed, "written",
      (json_int_t)r->written, "rejected", (json_int_t)r->rejected, "duplicates",
      (json_int_t)r->duplicates, "skipped", (json_int_t)r->skipped, "shards", (json_int_t)r->shards,
      "bytes", (json_int_t)r->bytes, "seconds", r->seconds, "images_per_s", r->images_per_s,
      "classes", classes, "splits", splits, "labels_without_file",
      (json_int_t)r->labels_without_file, "bad_label_rows", (json_int_t)r->bad_label_rows, "leaks",
      (json_int_t)r->leaks, "resumed_pieces", (json_int_t)r->resumed, "peak_bytes",
      (json_int_t)r->peak_bytes, "already_complete", r->already_complete, "digest", r->digest);
}
