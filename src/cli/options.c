/* options.c -- the values of one command's options and where each came from. */
#include "cli/options.h"

#include "cli/nearest.h"
#include "cli/option_value.h"
#include "cli/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 128, ORIGIN_BYTES = 1100 };

typedef struct {
  char *text, *origin; /* owned */
  pn_option_value v;
  int load; /* number of the file it came from, 0 = none: a key given twice in one file */
} value;

struct pn_options {
  unsigned command;
  int n, n_loads;
  const pn_option *row; /* [n], the table */
  value *value;         /* [n], owned */
};

static pn_status store(value *v, const char *text, const char *origin, pn_option_value parsed) {
  char *t = strdup(text), *from = strdup(origin);
  if (!t || !from) {
    free(t);
    free(from);
    return PN_FAIL(PN_ERR_NOMEM, "options: out of memory");
  }
  free(v->text);
  free(v->origin);
  v->text = t;
  v->origin = from;
  v->v = parsed;
  return PN_OK;
}

pn_status pn_options_create(unsigned command, pn_options **out) {
  pn_status st = PN_OK;
  pn_options *o = calloc(1, sizeof *o);

  *out = NULL;
  if (!o) return PN_FAIL(PN_ERR_NOMEM, "options: out of memory");
  o->command = command;
  o->row = pn_option_table(&o->n);
  o->value = calloc((size_t)o->n, sizeof *o->value);
  if (!o->value) {
    st = PN_FAIL(PN_ERR_NOMEM, "options: out of memory");
    goto done;
  }
  for (int i = 0; i < o->n; i++) {
    pn_option_value v;
    PN_TRY(pn_option_parse(&o->row[i], o->row[i].dflt, "default of ", &v));
    PN_TRY(store(&o->value[i], o->row[i].dflt, "default", v));
  }
  *out = o;
  o = NULL;
done:
  pn_options_destroy(o);
  return st;
}

pn_status pn_options_copy(const pn_options *o, pn_options **out) {
  pn_status st = PN_OK;
  pn_options *c = NULL;

  *out = NULL;
  PN_TRY(pn_options_create(o->command, &c));
  for (int i = 0; i < o->n; i++)
    PN_TRY(store(&c->value[i], o->value[i].text, o->value[i].origin, o->value[i].v));
  *out = c;
  c = NULL;
done:
  pn_options_destroy(c);
  return st;
}

void pn_options_destroy(pn_options *o) {
  if (!o) return;
  for (int i = 0; o->value && i < o->n; i++) {
    free(o->value[i].text);
    free(o->value[i].origin);
  }
  free(o->value);
  free(o);
}

static const char *last_part(const char *key) {
  const char *dot = strrchr(key, '.');
  return dot ? dot + 1 : key;
}

/* "epochs" or "optim.epochs" for "train.epochs", "out" for "out.path". */
static bool same_part(const char *given, const char *key) {
  size_t section = strcspn(key, ".");

  return strcmp(last_part(given), last_part(key)) == 0 ||
         (strlen(given) == section && strncmp(given, key, section) == 0);
}

static pn_status unknown_key(const pn_options *o, const char *key, const char *where) {
  pn_nearest near = {.word = key};
  const char *best = NULL;

  for (int i = 0; i < o->n; i++) {
    if (!(o->row[i].commands & o->command)) continue;
    pn_nearest_offer(&near, o->row[i].key);
    if (!best && same_part(key, o->row[i].key)) best = o->row[i].key;
  }
  if (!best) best = near.best;
  if (!best)
    return PN_FAIL(PN_ERR_ARG, "%sunknown option '%s'; --help after the command lists its options",
                   where, key);
  return PN_FAIL(PN_ERR_ARG, "%sunknown option '%s'; did you mean '%s'?", where, key, best);
}

static int index_of(const pn_options *o, const char *key) {
  for (int i = 0; i < o->n; i++)
    if (strcmp(o->row[i].key, key) == 0) return i;
  return -1;
}

/* Errors start with the place in a file; what stands on the command line needs none. */
static void where_text(const char *origin, char *out, size_t out_bytes) {
  bool command_line = strcmp(origin, "command line") == 0;
  snprintf(out, out_bytes, "%s%s", command_line ? "" : origin, command_line ? "" : ": ");
}

static pn_status set_value(pn_options *o, const char *key, const char *text, const char *origin,
                           int load) {
  char where[ORIGIN_BYTES];
  int i = index_of(o, key);
  pn_option_value v;
  pn_status st = PN_OK;

  where_text(origin, where, sizeof where);
  if (i < 0) return unknown_key(o, key, where);
  if (!(o->row[i].commands & o->command))
    return PN_FAIL(PN_ERR_ARG, "%soption '%s' (%s) has no effect on this command", where, key,
                   o->row[i].help);
  if (load && o->value[i].load == load)
    return PN_FAIL(PN_ERR_ARG, "%soption '%s' is given twice in this file", where, key);
  PN_TRY(pn_option_parse(&o->row[i], text, where, &v));
  PN_TRY(store(&o->value[i], text, origin, v));
  o->value[i].load = load;
done:
  return st;
}

pn_status pn_options_set(pn_options *o, const char *key, const char *text, const char *origin) {
  return set_value(o, key, text, origin, 0);
}

/* Shortest text that reads back as x. */
static void real_text(double x, char *out, size_t out_bytes) {
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(out, out_bytes, "%.*g", digits, x);
    if (strtod(out, NULL) == x) return;
  }
}

/* A walk through a nested value. */
typedef struct {
  pn_options *o;
  const char *origin;  /* file, or the one origin of all */
  const json_t *lines; /* NULL: no line numbers */
  int load;
} loader;

static void origin_of(const loader *l, const char *key, char *out, size_t out_bytes) {
  json_int_t line = json_integer_value(json_object_get(l->lines, key));
  if (line)
    snprintf(out, out_bytes, "%s:%lld", l->origin, (long long)line);
  else
    snprintf(out, out_bytes, "%s", l->origin);
}

static pn_status set_scalar(const loader *l, const char *key, const json_t *v) {
  char text[64], origin[ORIGIN_BYTES];

  origin_of(l, key, origin, sizeof origin);
  if (json_is_string(v)) return set_value(l->o, key, json_string_value(v), origin, l->load);
  if (json_is_boolean(v))
    return set_value(l->o, key, json_is_true(v) ? "true" : "false", origin, l->load);
  if (json_is_integer(v))
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
  else if (json_is_real(v))
    real_text(json_real_value(v), text, sizeof text);
  else if (index_of(l->o, key) < 0) /* a wrong key says so before its value's form is judged */
    return set_value(l->o, key, "", origin, l->load);
  else
    return PN_FAIL(PN_ERR_ARG, "%s: option '%s' takes one value, not %s", origin, key,
                   json_is_null(v) ? "nothing" : "a list");
  return set_value(l->o, key, text, origin, l->load);
}

static pn_status load_object(const loader *l, const json_t *doc, const char *prefix) {
  const char *name;
  json_t *v;

  json_object_foreach((json_t *)doc, name, v) {
    char key[KEY_BYTES];
    bool study = strcmp(prefix, "study") == 0;
    pn_status st;
    if (snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", name) >= (int)sizeof key)
      return PN_FAIL(PN_ERR_ARG, "%s: option name is too long: %s...", l->origin, key);
    if (study && (json_is_object(v) || json_is_array(v))) continue;
    st = json_is_object(v) ? load_object(l, v, key) : set_scalar(l, key, v);
    if (st != PN_OK) return st;
  }
  return PN_OK;
}

static pn_status load(pn_options *o, const json_t *doc, const char *origin, const json_t *lines) {
  loader l = {.o = o, .origin = origin, .lines = lines, .load = ++o->n_loads};
  if (!json_is_object(doc))
    return PN_FAIL(PN_ERR_ARG, "%s: expected sections of options, such as `train:`", origin);
  return load_object(&l, doc, "");
}

pn_status pn_options_load_json(pn_options *o, const json_t *doc, const char *origin) {
  return load(o, doc, origin, NULL);
}

pn_status pn_options_load_yaml(pn_options *o, const char *path) {
  pn_status st = PN_OK;
  json_t *doc = NULL, *lines = NULL;

  PN_TRY(pn_yaml_load_lines(path, &doc, &lines));
  PN_TRY(load(o, doc, path, lines));
done:
  json_decref(doc);
  json_decref(lines);
  return st;
}

static const value *get(const pn_options *o, const char *key, pn_option_type type) {
  int i = index_of(o, key);
  assert(i >= 0 && o->row[i].type == type);
  (void)type;
  return &o->value[i];
}

int64_t pn_options_int(const pn_options *o, const char *key) {
  return get(o, key, PN_T_INT)->v.i;
}

double pn_options_float(const pn_options *o, const char *key) {
  return get(o, key, PN_T_FLOAT)->v.f;
}

bool pn_options_bool(const pn_options *o, const char *key) {
  return get(o, key, PN_T_BOOL)->v.i != 0;
}

const char *pn_options_text(const pn_options *o, const char *key) {
  int i = index_of(o, key);
  assert(i >= 0);
  return o->value[i].text;
}

void pn_options_size(const pn_options *o, const char *key, int64_t hw[2]) {
  memcpy(hw, get(o, key, PN_T_SIZE)->v.hw, 2 * sizeof *hw);
}

bool pn_options_given(const pn_options *o, const char *key) {
  return strcmp(pn_options_origin(o, key), "default") != 0;
}

const char *pn_options_origin(const pn_options *o, const char *key) {
  int i = index_of(o, key);
  assert(i >= 0);
  return o->value[i].origin;
}

static json_t *value_json(const pn_option *row, const value *v) {
  bool is_auto = strcmp(v->text, "auto") == 0;
  if (row->type == PN_T_INT && !is_auto) return json_integer(v->v.i);
  if (row->type == PN_T_FLOAT && !is_auto) return json_real(v->v.f);
  if (row->type == PN_T_BOOL) return json_boolean(v->v.i);
  return json_string(v->text);
}

json_t *pn_options_json(const pn_options *o) {
  json_t *all = json_object();
  for (int i = 0; i < o->n; i++)
    if (o->row[i].commands & o->command)
      json_object_set_new(all, o->row[i].key,
                          json_pack("{s:o, s:s}", "value", value_json(&o->row[i], &o->value[i]),
                                    "origin", o->value[i].origin));
  return all;
}

void pn_options_print(const pn_options *o, FILE *f) {
  int key_width = 0, text_width = 0, at_default = 0;

  for (int i = 0; i < o->n; i++) {
    if (!(o->row[i].commands & o->command)) continue;
    if (strcmp(o->value[i].origin, "default") == 0) {
      at_default++;
      continue;
    }
    if ((int)strlen(o->row[i].key) > key_width) key_width = (int)strlen(o->row[i].key);
    if ((int)strlen(o->value[i].text) > text_width) text_width = (int)strlen(o->value[i].text);
  }
  for (int i = 0; i < o->n; i++)
    if ((o->row[i].commands & o->command) && strcmp(o->value[i].origin, "default") != 0)
      fprintf(f, "  %-*s = %-*s  (%s)\n", key_width, o->row[i].key, text_width, o->value[i].text,
              o->value[i].origin);
  fprintf(f, "  %d %soption%s at the default\n", at_default, key_width ? "other " : "",
          at_default == 1 ? "" : "s");
}
