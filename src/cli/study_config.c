/* study_config.c -- rows of a study: defaults of the file, keys of the row, command line on top. */
#include "cli/study_config.h"

#include "cli/nearest.h"
#include "cli/train_setup.h"
#include "cli/yaml.h"

#include <stdio.h>
#include <string.h>

enum { PLACE_BYTES = 1100, KEY_BYTES = 128, MAX_RANKS = 65536 };

/* Keys that a row spells without their section. */
static const char *const short_keys[] = {"strategy",   "threads", "batch",
                                         "batch_rule", "device",  "precision"};
static const char *const own_keys[] = {"name", "ranks", "scaling"};

/* One row while it is read. */
typedef struct {
  const char *file; /* borrowed */
  const json_t *lines;
  int index;
  pn_options *opt;     /* borrowed */
  pn_study_row *row;   /* borrowed */
  const char *scaling; /* borrowed from the document; NULL: not given */
  bool has_rule;       /* the row itself sets train.batch_rule */
} reader;

static bool is_one_of(const char *key, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (strcmp(key, list[i]) == 0) return true;
  return false;
}
#define IS_ONE_OF(key, list) is_one_of((key), (list), sizeof(list) / sizeof *(list))

/* "FILE:LINE" of a key of the row; key NULL: of the list of rows. */
static const char *place(const reader *r, const char *key, char out[PLACE_BYTES]) {
  char path[KEY_BYTES * 2];
  json_int_t line;

  snprintf(path, sizeof path, "study.rows[%d].%s", r->index, key ? key : "name");
  line = json_integer_value(json_object_get(r->lines, path));
  if (!line) line = json_integer_value(json_object_get(r->lines, "study.rows"));
  snprintf(out, PLACE_BYTES, "%s:%lld", r->file, (long long)line);
  return out;
}

static bool from_command_line(const pn_options *o, const char *key) {
  return pn_option_find(key) && strcmp(pn_options_origin(o, key), "command line") == 0;
}

/* Keys of the whole study make no sense in a row. */
static pn_status check_section(const reader *r, const char *key, const char *at) {
  static const char *const whole[] = {"data.", "out.", "study.", "run."};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    if (strncmp(key, whole[i], strlen(whole[i])) == 0)
      return PN_FAIL(PN_ERR_ARG,
                     "%s: row %d: '%s' is the same for the whole study; set it outside "
                     "of study.rows",
                     at, r->index + 1, key);
  return PN_OK;
}

static pn_status set_option(reader *r, const char *key, json_t *value, const char *at) {
  pn_status st = check_section(r, key, at);
  json_t *doc;

  if (st != PN_OK) return st;
  if (strcmp(key, "train.batch_rule") == 0) r->has_rule = true;
  if (from_command_line(r->opt, key)) return PN_OK;
  if (!(doc = json_pack("{s:O}", key, value)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", at);
  st = pn_options_load_json(r->opt, doc, at);
  json_decref(doc);
  return st;
}

static pn_status set_section(reader *r, const char *section, json_t *map) {
  const char *name;
  json_t *v;

  json_object_foreach(map, name, v) {
    char key[KEY_BYTES], at[PLACE_BYTES];
    pn_status st;
    snprintf(key, sizeof key, "%s.%s", section, name);
    st = set_option(r, key, v, place(r, key, at));
    if (st != PN_OK) return st;
  }
  return PN_OK;
}

static pn_status unknown_key(const reader *r, const char *key, const char *at) {
  pn_nearest near = {.word = key};
  char hint[KEY_BYTES] = "";
  int n;
  const pn_option *table = pn_option_table(&n);

  for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++)
    pn_nearest_offer(&near, own_keys[i]);
  for (size_t i = 0; i < sizeof short_keys / sizeof *short_keys; i++)
    pn_nearest_offer(&near, short_keys[i]);
  for (int i = 0; i < n && !near.best; i++) { /* "epochs" for "train.epochs" */
    const char *dot = strchr(table[i].key, '.');
    if (table[i].commands & PN_CMD_TRAIN && dot && strcmp(dot + 1, key) == 0)
      near.best = table[i].key;
  }
  if (near.best) snprintf(hint, sizeof hint, "; did you mean '%s'?", near.best);
  return PN_FAIL(PN_ERR_ARG, "%s: row %d: unknown key '%s'%s", at, r->index + 1, key, hint);
}

static pn_status set_name(reader *r, const json_t *v, const char *at) {
  const char *name = json_string_value(v);

  if (!name || !*name || strlen(name) >= sizeof r->row->name || strchr(name, '/') || *name == '.')
    return PN_FAIL(PN_ERR_ARG,
                   "%s: row %d: name: expected a word of at most %d letters that can be "
                   "a file's name",
                   at, r->index + 1, PN_STUDY_NAME - 1);
  snprintf(r->row->name, sizeof r->row->name, "%s", name);
  return PN_OK;
}

static pn_status set_own(reader *r, const char *key, const json_t *v, const char *at) {
  const char *text = json_string_value(v);

  if (strcmp(key, "name") == 0) return set_name(r, v, at);
  if (strcmp(key, "ranks") == 0) {
    json_int_t ranks = json_integer_value(v);
    if (!json_is_integer(v) || ranks < 1 || ranks > MAX_RANKS)
      return PN_FAIL(PN_ERR_ARG, "%s: row %d: ranks: expected an integer from 1 to %d", at,
                     r->index + 1, MAX_RANKS);
    r->row->ranks = (int)ranks;
    return PN_OK;
  }
  if (!text || (strcmp(text, "strong") != 0 && strcmp(text, "weak") != 0))
    return PN_FAIL(PN_ERR_ARG,
                   "%s: row %d: scaling: expected strong (global batch fixed) or weak "
                   "(batch per rank fixed)",
                   at, r->index + 1);
  r->scaling = text;
  return PN_OK;
}

static pn_status set_key(reader *r, const char *key, json_t *v) {
  char full[KEY_BYTES], at[PLACE_BYTES];

  place(r, key, at);
  if (IS_ONE_OF(key, own_keys)) return set_own(r, key, v, at);
  if (json_is_object(v)) return set_section(r, key, v);
  if (strchr(key, '.')) return set_option(r, key, v, at);
  if (!IS_ONE_OF(key, short_keys)) return unknown_key(r, key, at);
  snprintf(full, sizeof full, "train.%s", key);
  return set_option(r, full, v, at);
}

/* Strong scaling is the global batch rule, weak the local one: one may be given for the other. */
static pn_status settle_scaling(reader *r) {
  char at[PLACE_BYTES];
  bool weak = r->scaling && strcmp(r->scaling, "weak") == 0, local;
  pn_status st = PN_OK;

  place(r, "scaling", at);
  if (r->scaling && !r->has_rule && !from_command_line(r->opt, "train.batch_rule"))
    st = pn_options_set(r->opt, "train.batch_rule", weak ? "local" : "global", at);
  if (st != PN_OK) return st;
  local = strcmp(pn_options_text(r->opt, "train.batch_rule"), "local") == 0;
  if (r->scaling && r->has_rule && local != weak && !from_command_line(r->opt, "train.batch_rule"))
    return PN_FAIL(PN_ERR_ARG,
                   "%s: row '%s': scaling: %s contradicts batch_rule: %s; give one of "
                   "them",
                   at, r->row->name, r->scaling, local ? "local" : "global");
  r->row->weak = local;
  return PN_OK;
}

static pn_status finish_row(reader *r, const pn_dataset *d) {
  char at[PLACE_BYTES];
  pn_study_row *row = r->row;
  pn_status st;

  place(r, NULL, at);
  if (!row->name[0]) return PN_FAIL(PN_ERR_ARG, "%s: row %d has no name", at, r->index + 1);
  if (!row->ranks) row->ranks = 1;
  PN_TRY(settle_scaling(r));
  PN_TRY(pn_train_setup(r->opt, d, row->ranks, &row->train));
  row->threads_wanted = pn_threads_wanted(r->opt);
  row->options = pn_options_json(r->opt);
done:
  return st;
}

static pn_status read_row(reader *r, json_t *map, const pn_options *o, const pn_dataset *d) {
  char at[PLACE_BYTES];
  const char *key;
  json_t *v;
  pn_status st;

  if (!json_is_object(map))
    return PN_FAIL(PN_ERR_ARG, "%s: row %d: expected keys such as {name: ddp-2, ranks: 2}",
                   place(r, NULL, at), r->index + 1);
  PN_TRY(pn_options_copy(o, &r->opt));
  json_object_foreach(map, key, v) PN_TRY(set_key(r, key, v));
  st = finish_row(r, d);
done:
  return st;
}

/* All rows, then what each of them sets.  opt: [n], the caller's, NULL at first. */
static pn_status read_rows(const reader *like, const json_t *rows, const pn_row_options *all,
                           const pn_dataset *d, pn_options **opt) {
  pn_status st = PN_OK;

  for (int i = 0; i < all->n; i++) {
    reader r = *like;
    r.index = i;
    r.row += i;
    st = read_row(&r, json_array_get(rows, (size_t)i), all->all, d);
    opt[i] = r.opt;
    if (st != PN_OK) return st;
  }
  for (int i = 0; i < all->n && st == PN_OK; i++) st = pn_effects_check(opt[i], all);
  return st;
}

static pn_status check_rows(const char *path, const pn_study *s) {
  bool single = false;

  for (int i = 0; i < s->n; i++) {
    single = single || s->rows[i].ranks == 1;
    for (int k = 0; k < i; k++)
      if (strcmp(s->rows[i].name, s->rows[k].name) == 0)
        return PN_FAIL(PN_ERR_ARG, "%s: two rows of study.rows are named '%s'", path,
                       s->rows[i].name);
  }
  if (!single)
    return PN_FAIL(PN_ERR_ARG, "%s: study.rows has no row with ranks: 1 to compare the others with",
                   path);
  return PN_OK;
}

pn_status pn_study_config(const char *path, const pn_options *o, const pn_dataset *d,
                          pn_study **out) {
  pn_status st = PN_OK;
  json_t *doc = NULL, *lines = NULL, *rows;
  pn_options *opt[PN_STUDY_MAX_ROWS] = {NULL};
  size_t n;

  *out = NULL;
  PN_TRY(pn_yaml_load_lines(path, &doc, &lines));
  rows = json_object_get(json_object_get(doc, "study"), "rows");
  n = json_array_size(rows);
  if (n < 1 || n > PN_STUDY_MAX_ROWS) {
    st = PN_FAIL(PN_ERR_ARG,
                 "%s: study.rows: expected a list of 1 to %d rows, such as\n"
                 "  study: {rows: [{name: serial, ranks: 1}, {name: ddp-2, ranks: 2}]}",
                 path, PN_STUDY_MAX_ROWS);
    goto done;
  }
  PN_TRY(pn_study_create((int)n, out));
  PN_TRY(read_rows(&(reader){.file = path, .lines = lines, .row = (*out)->rows}, rows,
                   &(pn_row_options){o, opt, (int)n}, d, opt));
  PN_TRY(check_rows(path, *out));
done:
  if (st != PN_OK) {
    pn_study_destroy(*out);
    *out = NULL;
  }
  for (int i = 0; i < PN_STUDY_MAX_ROWS; i++) pn_options_destroy(opt[i]);
  json_decref(doc);
  json_decref(lines);
  return st;
}
