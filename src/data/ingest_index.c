/* ingest_index.c -- index.json and rejects.csv from the merged records. */
#include "base/digest.h"
#include "base/file.h"
#include "data/ingest_ties.h"
#include "data/kind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_STYLE = JSON_REAL_PRECISION(15) };

/* {"name": n, ...} */
static json_t *named_counts(const char *(*name)(int), const int64_t *count, int n) {
  json_t *o = json_object();
  for (int i = 0; o && i < n; i++) json_object_set_new(o, name(i), json_integer(count[i]));
  return o;
}

static json_t *class_names(const pn_ingest *x) {
  const pn_labels *l = &x->source.labels;
  json_t *list = json_array();
  for (int i = 0; list && i < l->n_classes; i++)
    json_array_append_new(list, json_string(l->class_name[i]));
  return list;
}

static json_t *class_counts(const pn_ingest *x, const int64_t *count) {
  const pn_labels *l = &x->source.labels;
  json_t *o = json_object();
  for (int i = 0; o && i < l->n_classes; i++)
    json_object_set_new(o, l->class_name[i], json_integer(count[i]));
  return o;
}

static const char *split_name(int i) {
  return pn_split_name((pn_split)i);
}

struct totals {
  int64_t written, classes[PN_MAX_CLASSES], splits[PN_SPLIT_COUNT];
  int64_t warnings[PN_DICOM_WARNING_COUNT];
};

static void count_records(const pn_ingest *x, struct totals *t) {
  const pn_ingest_record *r = x->records.data;

  *t = (struct totals){0};
  for (int64_t i = 0; i < x->records.n; i++) {
    if (r[i].split < 0) continue;
    t->written++;
    t->classes[r[i].label]++;
    t->splits[r[i].split]++;
    for (int b = 0; b < PN_DICOM_WARNING_COUNT; b++) t->warnings[b] += r[i].warnings >> b & 1;
  }
}

static json_t *counts_json(const pn_ingest *x, const struct totals *t) {
  return json_pack("{s:I,s:I,s:I,s:I,s:I}", "listed", (json_int_t)x->source.n, "written",
                   (json_int_t)t->written, "rejected", (json_int_t)x->rejected, "duplicates",
                   (json_int_t)x->duplicates, "skipped", (json_int_t)x->skipped);
}

/* Rows of a shard are in file order, and so are the records: *next walks along. */
static json_t *shard_json(const pn_ingest *x, const pn_ingest_shard *s, int64_t *next) {
  const pn_ingest_record *r = x->records.data;
  char *split = calloc((size_t)s->shard.images + 1, 1);
  json_t *o;

  if (!split) return NULL;
  for (int64_t i = 0; i < s->shard.images; i++, (*next)++) {
    int k = r[*next].split;
    split[i] = k < 0 ? PN_SPLIT_DROPPED : PN_SPLIT_CHARS[k];
  }
  o = json_pack("{s:s,s:I,s:I,s:s,s:s}", "file", s->shard.file, "images",
                (json_int_t)s->shard.images, "bytes", (json_int_t)s->shard.bytes, "sha256",
                s->shard.sha256, "split", split);
  free(split);
  return o;
}

static json_t *shards_json(const pn_ingest *x) {
  const pn_ingest_shard *s = x->shards.data;
  json_t *list = json_array();
  int64_t next = 0;

  for (int64_t i = 0; list && i < x->shards.n; i++)
    if (json_array_append_new(list, shard_json(x, &s[i], &next)) != 0) {
      json_decref(list);
      return NULL;
    }
  return list;
}

static pn_status add_digest(json_t *index) {
  char *text = json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS | JSON_STYLE);
  char hex[65];
  pn_sha256 *sha = NULL;
  pn_status st = text ? pn_sha256_create(&sha) : PN_FAIL(PN_ERR_NOMEM, "index: out of memory");

  if (st == PN_OK) {
    pn_sha256_update(sha, text, strlen(text));
    pn_sha256_hex(sha, hex);
    pn_sha256_destroy(sha);
    if (json_object_set_new(index, "digest", json_string(hex)) != 0)
      st = PN_FAIL(PN_ERR_NOMEM, "index: out of memory");
  }
  free(text);
  return st;
}

pn_status pn_ingest_index(const pn_ingest *x, json_t **out) {
  const pn_ingest_config *cfg = x->cfg;
  struct totals t;
  json_t *index;
  pn_status st;

  count_records(x, &t);
  *out = NULL;
  index = json_pack(
      "{s:s,s:i,s:s,s:i,s:I,s:I,s:i,s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:f,s:f,s:s,s:s,s:o,s:"
      "o}",
      "format", PN_INDEX_FORMAT, "version", PN_INDEX_VERSION, "kind", x->source.kind->name,
      "channels", x->source.channels, "height", (json_int_t)cfg->height, "width",
      (json_int_t)cfg->width, "bits", cfg->bits, "fit", pn_fit_name(cfg->fit), "classes",
      class_names(x), "class_counts", class_counts(x, t.classes), "splits",
      named_counts(split_name, t.splits, PN_SPLIT_COUNT), "counts", counts_json(x, &t), "warnings",
      named_counts(pn_dicom_warning_name, t.warnings, PN_DICOM_WARNING_COUNT),
      "labels_without_file", (json_int_t)x->labels_without_file, "bad_label_rows",
      (json_int_t)x->bad_label_rows, "leaks", (json_int_t)x->leaks, "seed", (json_int_t)cfg->seed,
      "val_share", cfg->val_share, "test_share", cfg->test_share, "decoder", x->decoder, "plan",
      x->source.plan, "ties", pn_ingest_ties_json(x), "shards", shards_json(x));
  if (!index) return PN_FAIL(PN_ERR_NOMEM, "index: out of memory");
  if ((st = add_digest(index)) == PN_OK)
    *out = index;
  else
    json_decref(index);
  return st;
}

pn_status pn_ingest_check_index(const pn_ingest *x, const json_t *index) {
  const json_t *shards = json_object_get(index, "shards"), *s;
  int64_t images = 0, used = 0, rows = 0;
  struct totals t;
  size_t i;

  count_records(x, &t);
  json_array_foreach(shards, i, s) {
    const char *split = json_string_value(json_object_get(s, "split"));
    images += json_integer_value(json_object_get(s, "images"));
    for (; split && *split; split++, rows++) used += *split != PN_SPLIT_DROPPED;
  }
  if (images == x->records.n && rows == images && used == t.written && images - used == x->dropped)
    return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT,
                 "index and shards disagree: %lld images in shards, %lld recorded, %lld with a "
                 "split, %lld written, %lld dropped: this is a bug",
                 (long long)images, (long long)x->records.n, (long long)used, (long long)t.written,
                 (long long)x->dropped);
}

pn_status pn_ingest_write_index(const pn_ingest *x, json_t *index) {
  char path[PATH_MAX], *text = NULL;
  pn_status st;

  PN_TRY(pn_path_join(path, sizeof path, x->cfg->out, PN_INDEX_NAME));
  if (!(text = json_dumps(index, JSON_INDENT(1) | JSON_STYLE)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "index: out of memory"));
  PN_TRY(pn_file_write(path, text, strlen(text)));
done:
  free(text);
  return st;
}

/* A quoted CSV field; control bytes and text that is not UTF-8 as \xNN. */
static void put_field(FILE *f, const char *text) {
  json_t *utf8 = json_string(text); /* NULL: not UTF-8 */

  fputc('"', f);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p == '"')
      fputs("\"\"", f);
    else if (*p < 0x20 || *p == 0x7F || (*p >= 0x80 && !utf8))
      fprintf(f, "\\x%02x", *p);
    else
      fputc(*p, f);
  }
  fputc('"', f);
  json_decref(utf8);
}

/* Path of an image, numbered where its file holds several; lines of the labels have its name. */
static void put_path(FILE *f, const pn_ingest *x, const pn_ingest_event *e) {
  const pn_ingest_file *file = &x->source.file[e->file];
  char path[PATH_MAX + 32];

  if (e->outcome == PN_OUT_LABEL_ROW) {
    put_field(f, x->source.text[PN_TEXT_LABELS].name);
    return;
  }
  snprintf(path, PATH_MAX, "%s", file->path);
  if (file->of > 1) snprintf(path + strlen(path), 32, "#%lld", (long long)file->number);
  put_field(f, path);
}

static void put_event(FILE *f, const pn_ingest *x, const pn_ingest_event *e) {
  put_path(f, x, e);
  fprintf(f, ",%s,", e->why.reason);
  put_field(f, e->why.tag);
  fputc(',', f);
  put_field(f, e->why.value);
  fputc('\n', f);
}

pn_status pn_ingest_write_rejects(const pn_ingest *x) {
  const pn_ingest_event *e = x->events.data;
  char path[PATH_MAX], *text = NULL;
  size_t bytes = 0;
  FILE *f = open_memstream(&text, &bytes);
  bool failed;
  pn_status st = PN_OK;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "rejects.csv: out of memory");
  fputs("path,reason,tag,value\n", f);
  for (int64_t i = 0; i < x->events.n; i++) put_event(f, x, &e[i]);
  failed = ferror(f) != 0;
  if (fclose(f) != 0 || failed) st = PN_FAIL(PN_ERR_NOMEM, "rejects.csv: out of memory");
  if (st == PN_OK) st = pn_path_join(path, sizeof path, x->cfg->out, "rejects.csv");
  if (st == PN_OK) st = pn_file_write(path, text, bytes);
  free(text);
  return st;
}

static int64_t integer_at(const json_t *o, const char *object, const char *key) {
  return json_integer_value(json_object_get(object ? json_object_get(o, object) : o, key));
}

static pn_status result_classes(const json_t *index, pn_ingest_result *out) {
  const json_t *classes = json_object_get(index, "classes"), *name;
  size_t i;

  json_array_foreach(classes, i, name) {
    if (i == PN_INGEST_MAX_CLASSES || !json_is_string(name))
      return PN_FAIL(PN_ERR_FORMAT, "index: bad list of classes");
    snprintf(out->class_name[i], PN_INGEST_NAME_BYTES, "%s", json_string_value(name));
    out->class_count[i] = integer_at(index, "class_counts", out->class_name[i]);
    out->n_classes = (int)i + 1;
  }
  return PN_OK;
}

pn_status pn_ingest_result_of_index(const json_t *index, pn_ingest_result *out) {
  const json_t *shards = json_object_get(index, "shards"), *s;
  const char *digest = json_string_value(json_object_get(index, "digest"));
  const char *kind = json_string_value(json_object_get(index, "kind"));
  size_t i;

  *out = (pn_ingest_result){0};
  if (!digest || !kind || !json_is_array(shards))
    return PN_FAIL(PN_ERR_FORMAT, "index: digest, kind or shards are missing");
  snprintf(out->kind, sizeof out->kind, "%s", kind);
  snprintf(out->digest, sizeof out->digest, "%s", digest);
  out->listed = integer_at(index, "counts", "listed");
  out->written = integer_at(index, "counts", "written");
  out->rejected = integer_at(index, "counts", "rejected");
  out->duplicates = integer_at(index, "counts", "duplicates");
  out->skipped = integer_at(index, "counts", "skipped");
  out->labels_without_file = integer_at(index, NULL, "labels_without_file");
  out->bad_label_rows = integer_at(index, NULL, "bad_label_rows");
  out->leaks = integer_at(index, NULL, "leaks");
  out->channels = (int)integer_at(index, NULL, "channels");
  out->shards = (int64_t)json_array_size(shards);
  json_array_foreach(shards, i, s) out->bytes += integer_at(s, NULL, "bytes");
  for (int k = 0; k < PN_SPLIT_COUNT; k++)
    out->split_count[k] = integer_at(index, "splits", split_name(k));
  return result_classes(index, out);
}
