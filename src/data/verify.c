/* verify.c -- the index, the sharing out of shards, the totals; verify_shard.c checks one shard. */
#include "data/verify.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "data/shard.h"
#include "data/verify_internal.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pn_verify_add(pn_verify *v, int64_t shard, const char *file, int64_t image, const char *fmt,
                   ...) {
  pn_verify_problem *p = &v->problem[v->n_listed];
  va_list args;

  v->n_problems++;
  if (v->n_listed == PN_VERIFY_MOST) return;
  v->n_listed++;
  memset(p, 0, sizeof *p);
  p->shard = shard;
  p->image = image;
  snprintf(p->file, sizeof p->file, "%s", file);
  va_start(args, fmt);
  vsnprintf(p->what, sizeof p->what, fmt, args);
  va_end(args);
}

static pn_status load(pn_verify *v) {
  char path[PATH_MAX], *text = NULL;
  const char *format;
  json_error_t error;
  size_t bytes = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(path, sizeof path, v->path, PN_INDEX_NAME));
  if (!pn_file_exists(path))
    PN_TRY(PN_FAIL(PN_ERR_IO, "no %s in %s: not a published data set (see `pneuma ingest`)",
                   PN_INDEX_NAME, v->path));
  PN_TRY(pn_file_read(path, &text, &bytes));
  if (!(v->index = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error)))
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s:%d: not JSON: %s", path, error.line, error.text));
  format = json_string_value(json_object_get(v->index, "format"));
  if (!format || strcmp(format, PN_INDEX_FORMAT) != 0 ||
      json_integer_value(json_object_get(v->index, "version")) != PN_INDEX_VERSION)
    st = PN_FAIL(PN_ERR_FORMAT, "%s: not an index of version %d", path, PN_INDEX_VERSION);
done:
  free(text);
  return st;
}

/* The digest stands for the index without it. */
static pn_status check_digest(pn_verify *v, char digest[65]) {
  const char *said = json_string_value(json_object_get(v->index, "digest"));
  char *text = NULL, is[65];
  pn_sha256 *sha = NULL;
  pn_status st = PN_OK;

  snprintf(digest, 65, "%s", said ? said : "");
  json_object_del(v->index, "digest");
  if (!(text = json_dumps(v->index, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(15))))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "index: out of memory"));
  PN_TRY(pn_sha256_create(&sha));
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, is);
  if (strcmp(is, digest) != 0)
    pn_verify_add(v, -1, PN_INDEX_NAME, -1, "its digest does not fit: changed or damaged");
done:
  pn_sha256_destroy(sha);
  free(text);
  return st;
}

static void join_classes(pn_verify *v) {
  const json_t *name;
  size_t i, at = 0;

  json_array_foreach(json_object_get(v->index, "classes"), i, name) {
    const char *text = json_string_value(name);
    if (at < sizeof v->classes)
      at += (size_t)snprintf(v->classes + at, sizeof v->classes - at, "%s%s", i ? "," : "",
                             text ? text : "?");
    if (v->n_classes < PN_VERIFY_CLASSES) v->n_classes++;
  }
}

static pn_status prepare(pn_verify *v, char digest[65]) {
  pn_status st;

  v->problem = calloc(PN_VERIFY_MOST + 1, sizeof *v->problem);
  if (!v->problem) return PN_FAIL(PN_ERR_NOMEM, "verify: out of memory");
  if ((st = load(v)) != PN_OK) return st;
  join_classes(v);
  return check_digest(v, digest);
}

static void compare_count(pn_verify *v, const char *object, const char *key, int64_t is) {
  int64_t said = json_integer_value(json_object_get(json_object_get(v->index, object), key));

  if (is != said)
    pn_verify_add(v, -1, PN_INDEX_NAME, -1, "%s.%s is %lld, the shards have %lld", object, key,
                  (long long)said, (long long)is);
}

/* After the sums, on rank 0. */
static void check_totals(pn_verify *v) {
  int64_t kept = 0;

  for (int s = 0; s < PN_SPLIT_COUNT; s++) {
    compare_count(v, "splits", pn_split_name((pn_split)s), v->split_count[s]);
    kept += v->split_count[s];
  }
  for (int i = 0; i < v->n_classes; i++) {
    const json_t *name = json_array_get(json_object_get(v->index, "classes"), (size_t)i);
    if (json_is_string(name))
      compare_count(v, "class_counts", json_string_value(name), v->class_count[i]);
  }
  compare_count(v, "counts", "written", kept);
}

static pn_status sum_up(pn_verify *v, pn_comm *c) {
  int64_t total[3] = {v->shards, v->images, v->bytes};
  pn_status st;

  PN_TRY(pn_allreduce(c, "verify totals", total, 3, PN_I64, PN_SUM));
  PN_TRY(pn_allreduce(c, "verify classes", v->class_count, PN_VERIFY_CLASSES, PN_I64, PN_SUM));
  PN_TRY(pn_allreduce(c, "verify splits", v->split_count, PN_SPLIT_COUNT, PN_I64, PN_SUM));
  v->shards = total[0];
  v->images = total[1];
  v->bytes = total[2];
done:
  return st;
}

static int by_place(const void *a, const void *b) {
  const pn_verify_problem *x = a, *y = b;
  if (x->shard != y->shard) return x->shard > y->shard ? 1 : -1;
  if (x->image != y->image) return x->image > y->image ? 1 : -1;
  return strcmp(x->what, y->what);
}

static pn_status gather(const pn_verify *v, pn_comm *c, pn_verify_result *out) {
  int size = pn_comm_size(c);
  int64_t mine = v->n_listed * (int64_t)sizeof *v->problem, bytes = 0;
  int64_t *counts = calloc((size_t)size, sizeof *counts);
  pn_status st = counts ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "verify: out of memory");

  PN_TRY(pn_agree(c, st));
  PN_TRY(pn_allgather(c, "verify problems", &mine, counts, 1, PN_I64));
  for (int r = 0; r < size; r++) bytes += counts[r];
  out->problem = malloc((size_t)bytes + 1);
  st = out->problem ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "verify: out of memory");
  PN_TRY(pn_agree(c, st));
  if (bytes > 0)
    PN_TRY(pn_allgatherv(c, "verify problems", v->problem, out->problem, counts, PN_U8));
  out->n_listed = bytes / (int64_t)sizeof *v->problem;
  out->n_problems = v->n_problems;
  PN_TRY(pn_allreduce(c, "verify problems", &out->n_problems, 1, PN_I64, PN_SUM));
  if (out->n_listed > 1) qsort(out->problem, (size_t)out->n_listed, sizeof *out->problem, by_place);
done:
  free(counts);
  return st;
}

static pn_status check_shards(pn_verify *v, pn_comm *c) {
  int64_t n = (int64_t)json_array_size(json_object_get(v->index, "shards"));
  pn_progress bar;
  pn_status st = PN_OK;

  if (n == 0 && pn_comm_rank(c) == 0) pn_verify_add(v, -1, PN_INDEX_NAME, -1, "no shards");
  pn_progress_start(&bar, "verify", "shards", n);
  for (int64_t k = pn_comm_rank(c); k < n && st == PN_OK; k += pn_comm_size(c)) {
    st = pn_verify_shard(v, k);
    pn_progress_update(&bar, k, NULL);
  }
  pn_progress_end(&bar);
  return st;
}

pn_status pn_verify_run(const char *path, pn_comm *c, pn_verify_result *out) {
  pn_verify v = {.path = path};
  double start = pn_now();
  pn_status st;

  *out = (pn_verify_result){0};
  PN_TRY(pn_agree(c, prepare(&v, out->digest)));
  if (pn_comm_rank(c) != 0) v.n_problems = v.n_listed = 0; /* of the index: all ranks saw them */
  PN_TRY(pn_agree(c, check_shards(&v, c)));
  PN_TRY(sum_up(&v, c));
  if (pn_comm_rank(c) == 0) check_totals(&v);
  PN_TRY(gather(&v, c, out));
  out->shards = v.shards;
  out->images = v.images;
  out->bytes = v.bytes;
  out->seconds = pn_now() - start;
done:
  free(v.problem);
  json_decref(v.index);
  if (st != PN_OK) pn_verify_free(out);
  return st;
}

void pn_verify_free(pn_verify_result *r) {
  free(r->problem);
  r->problem = NULL;
  r->n_listed = 0;
}

json_t *pn_verify_json(const pn_verify_result *r) {
  json_t *list = json_array();

  for (int64_t i = 0; i < r->n_listed; i++) {
    const pn_verify_problem *p = &r->problem[i];
    json_t *what = json_string(p->what);
    if (!what) what = json_string("(not UTF-8)");
    json_array_append_new(list,
                          json_pack("{s:s,s:o?,s:o}", "file", p->file, "image",
                                    p->image < 0 ? NULL : json_integer(p->image), "what", what));
  }
  return json_pack("{s:b,s:I,s:I,s:I,s:f,s:s,s:I,s:o}", "ok", r->n_problems == 0, "shards",
                   (json_int_t)r->shards, "images", (json_int_t)r->images, "bytes",
                   (json_int_t)r->bytes, "seconds", r->seconds, "digest", r->digest, "n_problems",
                   (json_int_t)r->n_problems, "problems", list);
}
