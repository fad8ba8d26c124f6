/* labels.c -- RSNA labels: rows are collected, sorted by id and line, and folded into one label
 * per id; the class file only checks them (Target 1 if and only if class "Lung Opacity"). */
#include "data/labels.h"

#include "data/csv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct row {
  const char *id; /* in the CSV text */
  double box[4];
  int target; /* labels file: Target; class file: 1 for "Lung Opacity", else 0 */
  int class_number;
  int64_t line;
};

struct rows {
  struct row *row;
  int64_t n, capacity;
};

static pn_status rows_add(struct rows *r, struct row **out) {
  if (r->n == r->capacity) {
    int64_t capacity = r->capacity ? 2 * r->capacity : 1024;
    struct row *row = realloc(r->row, (size_t)capacity * sizeof *row);
    if (!row) return PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
    r->row = row;
    r->capacity = capacity;
  }
  *out = &r->row[r->n++];
  **out = (struct row){0};
  return PN_OK;
}

static pn_status read_id(const pn_csv *c, int column, struct row *row) {
  size_t n = strlen(c->field[column]);

  if (n == 0 || n >= PN_LABEL_ID_BYTES)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (patientId): %s", c->name, (long long)c->line,
                   column + 1, n ? "longer than 71 characters" : "must not be empty");
  row->id = c->field[column];
  row->line = c->line;
  return PN_OK;
}

static pn_status check_width(const pn_csv *c, int n_header) {
  if (c->n_fields == n_header) return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d: the row has %d columns, the header %d",
                 c->name, (long long)c->line,
                 c->n_fields < n_header ? c->n_fields + 1 : n_header + 1, c->n_fields, n_header);
}

static pn_status read_label_row(const pn_csv *c, const int column[6], struct row *row) {
  static const char *const what[] = {"x", "y", "width", "height"};
  double target = NAN;
  pn_status st;

  if ((st = read_id(c, column[0], row)) != PN_OK) return st;
  for (int i = 0; i < 4; i++)
    if ((st = pn_csv_number(c, column[1 + i], what[i], &row->box[i])) != PN_OK) return st;
  if ((st = pn_csv_number(c, column[5], "Target", &target)) != PN_OK) return st;
  if (target != 0 && target != 1)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (Target): '%.40s', expected 0 or 1", c->name,
                   (long long)c->line, column[5] + 1, c->field[column[5]]);
  row->target = target == 1;
  return PN_OK;
}

static pn_status read_class_row(const pn_csv *c, const int column[2], struct row *row) {
  static const char *const names[] = {"Lung Opacity", "No Lung Opacity / Not Normal", "Normal"};
  pn_status st = read_id(c, column[0], row);

  if (st != PN_OK) return st;
  for (int i = 0; i < 3; i++)
    if (strcasecmp(c->field[column[1]], names[i]) == 0) {
      row->class_number = i;
      row->target = i == 0;
      return PN_OK;
    }
  return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (class): '%.40s', expected '%s', '%s' or '%s'",
                 c->name, (long long)c->line, column[1] + 1, c->field[column[1]], names[0],
                 names[1], names[2]);
}

static pn_status read_rows(pn_csv_text file, bool classes, struct rows *out) {
  static const char *const label_columns[] = {"patientId", "x", "y", "width", "height", "Target"};
  static const char *const class_columns[] = {"patientId", "class"};
  int column[6], n_header;
  struct row *row = NULL;
  bool more;
  pn_csv c;
  pn_status st = pn_csv_start(&c, file.name, file.text, file.bytes);

  if (st != PN_OK || (st = pn_csv_next(&c, &more)) != PN_OK) return st;
  if (!more) return PN_FAIL(PN_ERR_FORMAT, "%s: the file is empty", file.name);
  st = classes ? pn_csv_columns(&c, class_columns, 2, column)
               : pn_csv_columns(&c, label_columns, 6, column);
  if (st != PN_OK) return st;
  n_header = c.n_fields;
  while ((st = pn_csv_next(&c, &more)) == PN_OK && more) {
    if ((st = check_width(&c, n_header)) != PN_OK) return st;
    if ((st = rows_add(out, &row)) != PN_OK) return st;
    st = classes ? read_class_row(&c, column, row) : read_label_row(&c, column, row);
    if (st != PN_OK) return st;
  }
  return st;
}

static int by_id_and_line(const void *a, const void *b) {
  const struct row *x = a, *y = b;
  int d = strcmp(x->id, y->id);
  return d ? d : (x->line > y->line) - (x->line < y->line);
}

static void set_conflict(pn_label *l, const char *reason, int64_t line, bool in_classes) {
  if (l->conflict) return; /* the first one is enough to reject the id */
  l->conflict = reason;
  l->conflict_line = line;
  l->conflict_in_classes = in_classes;
}

static bool any_box_field(const struct row *r) {
  for (int i = 0; i < 4; i++)
    if (!isnan(r->box[i])) return true;
  return false;
}

/* All rows of one id -> *l and its boxes. */
static void fold_label(const struct row *row, int64_t n, pn_labels *all, pn_label *l) {
  l->id = row->id;
  l->split = -1;
  l->age = -1;
  l->target = row->target;
  l->line = row->line;
  l->first_box = all->n_boxes;
  for (int64_t i = 0; i < n; i++) {
    if (row[i].target != l->target) set_conflict(l, "target_conflict", row[i].line, false);
    if (!row[i].target && any_box_field(&row[i]))
      set_conflict(l, "box_without_target", row[i].line, false);
    if (!row[i].target) continue;
    all->box[all->n_boxes++] = (pn_label_box){.x = row[i].box[0],
                                              .y = row[i].box[1],
                                              .width = row[i].box[2],
                                              .height = row[i].box[3],
                                              .line = row[i].line};
    l->n_boxes++;
  }
}

static pn_status fold_labels(const struct rows *r, pn_labels *out) {
  out->label = calloc((size_t)r->n + 1, sizeof *out->label);
  out->box = calloc((size_t)r->n + 1, sizeof *out->box);
  if (!out->label || !out->box) return PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
  for (int64_t i = 0, k; i < r->n; i = k) {
    for (k = i + 1; k < r->n && strcmp(r->row[k].id, r->row[i].id) == 0; k++) continue;
    fold_label(r->row + i, k - i, out, &out->label[out->n++]);
  }
  return PN_OK;
}

static void check_classes(const struct rows *r, pn_labels *out) {
  for (int64_t i = 0; i < r->n; i++) {
    const struct row *row = &r->row[i];
    pn_label *l = (pn_label *)(uintptr_t)pn_labels_find(out, row->id); /* of our own array */
    if (!l) continue;
    if (row->target != l->target) set_conflict(l, "class_conflict", row->line, true);
    if (i > 0 && strcmp(row->id, row[-1].id) == 0 && row->class_number != row[-1].class_number)
      set_conflict(l, "class_conflict", row->line, true);
  }
}

pn_status pn_labels_parse(pn_csv_text labels, pn_csv_text classes, pn_labels *out) {
  struct rows r = {0}, k = {0};
  pn_status st = PN_OK;

  *out = (pn_labels){.class_name = {"normal", "opacity"}, .n_classes = PN_RSNA_CLASSES};
  PN_TRY(read_rows(labels, false, &r));
  if (r.n > 0) qsort(r.row, (size_t)r.n, sizeof *r.row, by_id_and_line);
  PN_TRY(fold_labels(&r, out));
  if (classes.text) {
    PN_TRY(read_rows(classes, true, &k));
    if (k.n > 0) qsort(k.row, (size_t)k.n, sizeof *k.row, by_id_and_line);
    check_classes(&k, out);
  }
done:
  if (st != PN_OK) pn_labels_free(out);
  free(r.row);
  free(k.row);
  return st;
}

void pn_labels_free(pn_labels *l) {
  if (!l) return;
  free(l->label);
  free(l->box);
  free(l->groups);
  *l = (pn_labels){0};
}

static int compare_id(const void *id, const void *label) {
  return strcmp(id, ((const pn_label *)label)->id);
}

const pn_label *pn_labels_find(const pn_labels *l, const char *id) {
  if (l->n == 0) return NULL;
  return bsearch(id, l->label, (size_t)l->n, sizeof *l->label, compare_id);
}
