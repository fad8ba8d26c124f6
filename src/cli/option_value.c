/* option_value.c -- parse and check one value against its row; one parser per type. */
#include "cli/option_value.h"

#include "cli/nearest.h"
#include "models/models.h"
#include "parallel/strategy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHOICES_BYTES = 512, EXPECTS_BYTES = 640 };

static void add_choice(char *out, size_t out_bytes, const char *name) {
  size_t n = strlen(out);
  snprintf(out + n, out_bytes - n, "%s%s", n ? "|" : "", name);
}

void pn_option_choices(const pn_option *row, char *out, size_t out_bytes) {
  int n = 0;
  out[0] = '\0';
  if (strcmp(row->choices, "@models") == 0) {
    const pn_model *m = pn_model_table(&n);
    for (int i = 0; i < n; i++) add_choice(out, out_bytes, m[i].name);
  } else if (strcmp(row->choices, "@strategies") == 0) {
    const pn_strategy_ops *const *s = pn_strategy_table(&n);
    add_choice(out, out_bytes, "auto");
    for (int i = 0; i < n; i++) add_choice(out, out_bytes, s[i]->name);
  } else {
    snprintf(out, out_bytes, "%s", row->choices);
  }
}

static bool may_be_auto(const pn_option *row) {
  return row->type != PN_T_CHOICE && row->type != PN_T_TEXT && strcmp(row->dflt, "auto") == 0;
}

/* Digits enough for every bound of the table, and no more than a person would write. */
static void range_text(const pn_option *row, const char *between, char *out, size_t out_bytes) {
  int digits = row->type == PN_T_INT ? 17 : 15;
  snprintf(out, out_bytes, "%.*g%s%.*g", digits, row->lo, between, digits, row->hi);
}

/* "sgd|adam" to "one of sgd, adam". */
static void expects_choice(const pn_option *row, char *out, size_t out_bytes) {
  char list[CHOICES_BYTES], *save = NULL;

  pn_option_choices(row, list, sizeof list);
  snprintf(out, out_bytes, "%s", strchr(list, '|') ? "one of" : "");
  for (char *w = strtok_r(list, "|", &save); w; w = strtok_r(NULL, "|", &save)) {
    size_t n = strlen(out);
    snprintf(out + n, out_bytes - n, "%s%s", n == 0 ? "" : n == 6 ? " " : ", ", w);
  }
}

void pn_option_expects(const pn_option *row, char *out, size_t out_bytes) {
  char range[CHOICES_BYTES];

  range_text(row, ", ", range, sizeof range);
  if (row->type == PN_T_INT) snprintf(out, out_bytes, "an integer in [%s]", range);
  if (row->type == PN_T_FLOAT) snprintf(out, out_bytes, "a number in [%s]", range);
  if (row->type == PN_T_BOOL) snprintf(out, out_bytes, "true or false");
  if (row->type == PN_T_SIZE) snprintf(out, out_bytes, "N or HEIGHTxWIDTH, each in [%s]", range);
  if (row->type == PN_T_TEXT)
    snprintf(out, out_bytes, "UTF-8 text of %.0f to %.0f bytes", row->lo, row->hi);
  if (row->type == PN_T_CHOICE) expects_choice(row, out, out_bytes);
  if (may_be_auto(row)) snprintf(out + strlen(out), out_bytes - strlen(out), " or auto");
}

void pn_option_range(const pn_option *row, char *out, size_t out_bytes) {
  if (row->type == PN_T_CHOICE)
    pn_option_choices(row, out, out_bytes);
  else if (row->type == PN_T_BOOL)
    snprintf(out, out_bytes, "true|false");
  else if (row->type == PN_T_TEXT)
    snprintf(out, out_bytes, "text");
  else
    range_text(row, " .. ", out, out_bytes);
}

static bool in_range(const pn_option *row, double x) {
  return x >= row->lo && x <= row->hi;
}

static bool parse_int(const pn_option *row, const char *s, pn_option_value *v) {
  char *end;
  errno = 0;
  v->i = strtoll(s, &end, 10);
  v->f = (double)v->i;
  return end != s && !*end && !errno && in_range(row, v->f);
}

static bool parse_float(const pn_option *row, const char *s, pn_option_value *v) {
  char *end;
  v->f = strtod(s, &end); /* NaN fails the range; underflow to 0 is the nearest number */
  return end != s && !*end && strspn(s, "0123456789+-.eE") == strlen(s) && in_range(row, v->f);
}

static bool parse_bool(const pn_option *row, const char *s, pn_option_value *v) {
  static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
  (void)row;
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasecmp(s, words[i]) == 0) {
      v->i = (int64_t)i & 1;
      return true;
    }
  return false;
}

/* UTF-8 only: run.json has to hold it. */
static bool parse_text(const pn_option *row, const char *s, pn_option_value *v) {
  json_t *utf8 = json_string(s);
  bool ok = utf8 && in_range(row, (double)strlen(s));
  (void)v;
  json_decref(utf8);
  return ok;
}

static bool parse_choice(const pn_option *row, const char *s, pn_option_value *v) {
  char list[CHOICES_BYTES], *save = NULL;

  (void)v;
  pn_option_choices(row, list, sizeof list);
  for (char *w = strtok_r(list, "|", &save); w; w = strtok_r(NULL, "|", &save))
    if (strcmp(w, s) == 0) return true;
  return false;
}

static bool parse_size(const pn_option *row, const char *s, pn_option_value *v) {
  char *end;
  errno = 0;
  v->hw[0] = v->hw[1] = strtoll(s, &end, 10);
  if (end == s) return false;
  if (*end == 'x') {
    const char *width = end + 1;
    v->hw[1] = strtoll(width, &end, 10);
    if (end == width) return false;
  }
  return !*end && !errno && in_range(row, (double)v->hw[0]) && in_range(row, (double)v->hw[1]);
}

typedef bool (*parse_fn)(const pn_option *row, const char *s, pn_option_value *v);
static const parse_fn parsers[] = {
    [PN_T_INT] = parse_int,   [PN_T_FLOAT] = parse_float,   [PN_T_BOOL] = parse_bool,
    [PN_T_TEXT] = parse_text, [PN_T_CHOICE] = parse_choice, [PN_T_SIZE] = parse_size,
};

/* The choice a typo was meant to be, with the words around it; "" when none is near. */
static void nearest_choice(const pn_option *row, const char *text, char *out, size_t out_bytes) {
  char list[CHOICES_BYTES], *save = NULL;
  pn_nearest near = {.word = text};

  out[0] = '\0';
  if (row->type != PN_T_CHOICE) return;
  pn_option_choices(row, list, sizeof list);
  for (char *w = strtok_r(list, "|", &save); w; w = strtok_r(NULL, "|", &save))
    pn_nearest_offer(&near, w);
  if (near.best) snprintf(out, out_bytes, "; did you mean '%s'?", near.best);
}

pn_status pn_option_parse(const pn_option *row, const char *text, const char *where,
                          pn_option_value *out) {
  char expects[EXPECTS_BYTES], hint[64];
  pn_option_value v = {0};

  *out = v;
  if (may_be_auto(row) && strcmp(text, "auto") == 0) return PN_OK;
  if (parsers[row->type](row, text, &v)) {
    *out = v;
    return PN_OK;
  }
  pn_option_expects(row, expects, sizeof expects);
  nearest_choice(row, text, hint, sizeof hint);
  return PN_FAIL(PN_ERR_ARG, "%s%s=%s: expected %s (%s)%s", where, row->key, text, expects,
                 row->help, hint);
}
