/* csv.c -- a small CSV reader that cuts its text in place and names file, line and column. */
#include "data/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

pn_status pn_csv_start(pn_csv *c, const char *name, char *text, size_t bytes) {
  size_t header;

  *c = (pn_csv){.name = name, .at = text, .end = text + bytes, .delimiter = ',', .next_line = 1};
  if (memchr(text, 0, bytes)) {
    return PN_FAIL(PN_ERR_FORMAT, "%s: byte %zu is 0: this is not a UTF-8 CSV text", name,
                   (size_t)((char *)memchr(text, 0, bytes) - text));
  }
  if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) c->at += 3;
  header = strcspn(c->at, "\r\n");
  if (!memchr(c->at, ',', header) && memchr(c->at, ';', header)) c->delimiter = ';';
  return PN_OK;
}

static char *skip_blanks(char *p) {
  while (*p == ' ' || *p == '\t') p++;
  return p;
}

static bool at_field_end(const pn_csv *c, const char *p) {
  return p == c->end || *p == c->delimiter || *p == '\n' || *p == '\r';
}

/* A field in quotes; *p is behind the opening one.  Doubled quotes become one. */
static pn_status read_quoted(pn_csv *c, char **p, char **field) {
  char *to = *p;

  *field = to;
  for (; *p < c->end; (*p)++) {
    if (**p == '"' && (*p)[1] != '"') break;
    if (**p == '"') (*p)++;
    if (**p == '\n') c->next_line++;
    *to++ = **p;
  }
  if (*p == c->end)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d: a quote is not closed", c->name,
                   (long long)c->line, c->n_fields + 1);
  *p = skip_blanks(*p + 1);
  if (!at_field_end(c, *p))
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d: text after the closing quote", c->name,
                   (long long)c->line, c->n_fields + 1);
  *to = 0; /* on or before the closing quote */
  return PN_OK;
}

static void read_plain(const pn_csv *c, char **p, char **field, char **field_end) {
  char *end;

  *field = *p;
  while (!at_field_end(c, *p)) (*p)++;
  for (end = *p; end > *field && (end[-1] == ' ' || end[-1] == '\t'); end--) continue;
  *field_end = end;
}

/* One field and what ends it; the separator is passed. */
static pn_status read_field(pn_csv *c, char **p, bool *last) {
  char *field = NULL, *cut = NULL, stop;
  pn_status st = PN_OK;

  *p = skip_blanks(*p);
  if (**p == '"') {
    (*p)++;
    st = read_quoted(c, p, &field);
  } else {
    read_plain(c, p, &field, &cut);
  }
  if (st != PN_OK) return st;
  if (c->n_fields == PN_CSV_MAX_FIELDS)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: more than %d columns", c->name, (long long)c->line,
                   PN_CSV_MAX_FIELDS);
  stop = *p < c->end ? **p : 0;
  *last = stop != c->delimiter || *p == c->end;
  if (stop == '\r' && (*p)[1] == '\n') (*p)++;
  if (*p < c->end) (*p)++;
  if (*last && stop) c->next_line++;
  if (cut) *cut = 0;
  c->field[c->n_fields++] = field;
  return PN_OK;
}

pn_status pn_csv_next(pn_csv *c, bool *more) {
  pn_status st = PN_OK;

  *more = false;
  while (c->at < c->end) {
    bool last = false;
    c->n_fields = 0;
    c->line = c->next_line;
    while (!last)
      if ((st = read_field(c, &c->at, &last)) != PN_OK) return st;
    if (c->n_fields == 1 && c->field[0][0] == 0) continue; /* a blank line */
    *more = true;
    return PN_OK;
  }
  return PN_OK;
}

pn_status pn_csv_columns(const pn_csv *c, const char *const *names, int n, int *column) {
  for (int i = 0; i < n; i++) {
    column[i] = -1;
    for (int k = 0; k < c->n_fields; k++)
      if (strcasecmp(c->field[k], names[i]) == 0) {
        if (column[i] >= 0)
          return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column '%s' is there twice (%d and %d)", c->name,
                         (long long)c->line, names[i], column[i] + 1, k + 1);
        column[i] = k;
      }
    if (column[i] < 0)
      return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: the header has no column '%s' (first column: '%s')",
                     c->name, (long long)c->line, names[i], c->field[0]);
  }
  return PN_OK;
}

pn_status pn_csv_number(const pn_csv *c, int column, const char *what, double *out) {
  const char *text = c->field[column];
  char *end = NULL;

  *out = NAN;
  if (!text[0]) return PN_OK;
  *out = strtod(text, &end);
  if (*end == 0) return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (%s): '%.40s' is not a number", c->name,
                 (long long)c->line, column + 1, what, text);
}
