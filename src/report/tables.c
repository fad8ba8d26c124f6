/* tables.c -- cells are kept as text; a rendering only decides padding, marks and escapes. */
#include "report/tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pn_table {
  int n_columns, n_rows, capacity;
  char **name, **unit; /* [n_columns] */
  bool *right;
  char **cells; /* [n_rows * n_columns] */
};

static char *copy(const char *s) {
  return strdup(s ? s : "");
}

/* Characters of UTF-8 text: bytes that do not continue another. */
static int width_of(const char *s) {
  int n = 0;
  for (; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
  return n;
}

static const char *cell(const pn_table *t, int row, int column) {
  return t->cells[row * t->n_columns + column];
}

static bool copy_headings(pn_table *t, const pn_table_column *columns) {
  for (int i = 0; i < t->n_columns; i++) {
    t->name[i] = copy(columns[i].name);
    t->unit[i] = copy(columns[i].unit);
    t->right[i] = columns[i].right;
    if (!t->name[i] || !t->unit[i]) return false;
  }
  return true;
}

pn_status pn_table_create(const pn_table_column *columns, int n_columns, pn_table **out) {
  pn_table *t;

  *out = NULL;
  if (n_columns < 1) return PN_FAIL(PN_ERR_ARG, "table without columns");
  if (!(t = calloc(1, sizeof *t))) return PN_FAIL(PN_ERR_NOMEM, "table: out of memory");
  t->n_columns = n_columns;
  t->name = calloc((size_t)n_columns, sizeof *t->name);
  t->unit = calloc((size_t)n_columns, sizeof *t->unit);
  t->right = calloc((size_t)n_columns, sizeof *t->right);
  if (!t->name || !t->unit || !t->right || !copy_headings(t, columns)) {
    pn_table_destroy(t);
    return PN_FAIL(PN_ERR_NOMEM, "table: out of memory");
  }
  *out = t;
  return PN_OK;
}

void pn_table_destroy(pn_table *t) {
  if (!t) return;
  for (int i = 0; i < t->n_rows * t->n_columns; i++) free(t->cells[i]);
  for (int i = 0; i < t->n_columns; i++) {
    if (t->name) free(t->name[i]);
    if (t->unit) free(t->unit[i]);
  }
  free(t->cells);
  free(t->name);
  free(t->unit);
  free(t->right);
  free(t);
}

static pn_status reserve(pn_table *t) {
  int capacity = t->capacity ? 2 * t->capacity : 8;
  char **grown;

  if (t->n_rows < t->capacity) return PN_OK;
  grown = realloc(t->cells, (size_t)capacity * (size_t)t->n_columns * sizeof *grown);
  if (!grown) return PN_FAIL(PN_ERR_NOMEM, "table of %d rows: out of memory", capacity);
  t->cells = grown;
  t->capacity = capacity;
  return PN_OK;
}

pn_status pn_table_add(pn_table *t, const char *const *cells) {
  pn_status st = reserve(t);
  char **row;

  if (st != PN_OK) return st;
  row = t->cells + t->n_rows * t->n_columns;
  for (int i = 0; i < t->n_columns; i++) {
    if ((row[i] = copy(cells[i]))) continue;
    while (i-- > 0) free(row[i]);
    return PN_FAIL(PN_ERR_NOMEM, "table row: out of memory");
  }
  t->n_rows++;
  return PN_OK;
}

int pn_table_rows(const pn_table *t) {
  return t->n_rows;
}

/* Where a rendering goes: memory that grows. */
typedef struct {
  FILE *f;
  char *text;
  size_t bytes;
} sink;

static pn_status sink_open(sink *s) {
  *s = (sink){0};
  s->f = open_memstream(&s->text, &s->bytes);
  return s->f ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "table: out of memory");
}

static pn_status sink_close(sink *s, char **out) {
  bool bad = ferror(s->f) != 0;

  if (fclose(s->f) != 0 || bad) {
    free(s->text);
    return PN_FAIL(PN_ERR_NOMEM, "table: out of memory");
  }
  *out = s->text;
  return PN_OK;
}

static int column_width(const pn_table *t, int column) {
  int w = width_of(t->name[column]), u = width_of(t->unit[column]);

  if (u > w) w = u;
  for (int r = 0; r < t->n_rows; r++) {
    int c = width_of(cell(t, r, column));
    if (c > w) w = c;
  }
  return w;
}

static void pad(FILE *f, int n) {
  while (n-- > 0) fputc(' ', f);
}

/* One line of text: cells padded to their width, blanks at the end of the line dropped. */
static void text_line(FILE *f, const pn_table *t, const int *width, char *const *cells) {
  int blanks = 0;
  for (int i = 0; i < t->n_columns; i++) {
    int room = width[i] - width_of(cells[i]), before = t->right[i] ? room : 0;
    blanks += (i > 0 ? 2 : 0) + before;
    if (*cells[i]) {
      pad(f, blanks);
      fputs(cells[i], f);
      blanks = 0;
    }
    blanks += room - before;
  }
  fputc('\n', f);
}

static bool has_units(const pn_table *t) {
  for (int i = 0; i < t->n_columns; i++)
    if (*t->unit[i]) return true;
  return false;
}

static void text_rule(FILE *f, const pn_table *t, const int *width) {
  for (int i = 0; i < t->n_columns; i++) {
    if (i > 0) fputs("  ", f);
    for (int k = 0; k < width[i]; k++) fputc('-', f);
  }
  fputc('\n', f);
}

pn_status pn_table_text(const pn_table *t, char **out) {
  sink s;
  pn_status st;
  int *width = malloc((size_t)t->n_columns * sizeof *width);

  *out = NULL;
  if (!width) return PN_FAIL(PN_ERR_NOMEM, "table: out of memory");
  PN_TRY(sink_open(&s));
  for (int i = 0; i < t->n_columns; i++) width[i] = column_width(t, i);
  text_line(s.f, t, width, t->name);
  if (has_units(t)) text_line(s.f, t, width, t->unit);
  text_rule(s.f, t, width);
  for (int r = 0; r < t->n_rows; r++) text_line(s.f, t, width, t->cells + r * t->n_columns);
  st = sink_close(&s, out);
done:
  free(width);
  return st;
}

static void markdown_cell(FILE *f, const char *s) {
  fputc(' ', f);
  for (; *s; s++) {
    if (*s == '|') fputc('\\', f);
    fputc(*s == '\n' || *s == '\r' ? ' ' : *s, f);
  }
  fputs(" |", f);
}

static void markdown_heading(FILE *f, const pn_table *t) {
  fputc('|', f);
  for (int i = 0; i < t->n_columns; i++) {
    char head[256];
    snprintf(head, sizeof head, *t->unit[i] ? "%s (%s)" : "%s", t->name[i], t->unit[i]);
    markdown_cell(f, head);
  }
  fputs("\n|", f);
  for (int i = 0; i < t->n_columns; i++) fputs(t->right[i] ? " ---: |" : " --- |", f);
  fputc('\n', f);
}

pn_status pn_table_markdown(const pn_table *t, char **out) {
  sink s;
  pn_status st;

  *out = NULL;
  if ((st = sink_open(&s)) != PN_OK) return st;
  markdown_heading(s.f, t);
  for (int r = 0; r < t->n_rows; r++) {
    fputc('|', s.f);
    for (int i = 0; i < t->n_columns; i++) markdown_cell(s.f, cell(t, r, i));
    fputc('\n', s.f);
  }
  return sink_close(&s, out);
}

static void csv_cell(FILE *f, const char *s) {
  if (!strpbrk(s, ",\"\r\n")) {
    fputs(s, f);
    return;
  }
  fputc('"', f);
  for (; *s; s++) {
    if (*s == '"') fputc('"', f);
    fputc(*s, f);
  }
  fputc('"', f);
}

pn_status pn_table_csv(const pn_table *t, char **out) {
  sink s;
  pn_status st;

  *out = NULL;
  if ((st = sink_open(&s)) != PN_OK) return st;
  for (int i = 0; i < t->n_columns; i++) {
    char head[256];
    snprintf(head, sizeof head, *t->unit[i] ? "%s_%s" : "%s", t->name[i], t->unit[i]);
    if (i > 0) fputc(',', s.f);
    csv_cell(s.f, head);
  }
  fputc('\n', s.f);
  for (int r = 0; r < t->n_rows; r++)
    for (int i = 0; i < t->n_columns; i++) {
      csv_cell(s.f, cell(t, r, i));
      fputc(i + 1 < t->n_columns ? ',' : '\n', s.f);
    }
  return sink_close(&s, out);
}
