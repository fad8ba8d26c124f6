/* labels_table.c -- any CSV with one row per image: columns are recognised by their names, or
 * named by the user; rows of one image must agree. */
#include "data/labels.h"

#include "data/csv.h"
#include "data/dataset.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PATH, LABEL, PATIENT, FOLD, SPLIT, SEX, AGE, VIEW, ROLES };
enum { MAX_NAMES = 14, MAX_AGE = 120, AGE_CAP = 90 };

static const struct {
  const char *role, *names[MAX_NAMES];
} roles[ROLES] = {
    {"path",
     {"path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path",
      "image_name", "image index", "img", "image_id", "id", "sopinstanceuid"}},
    {"label",
     {"label", "class", "class_name", "target", "diagnosis", "finding", "finding labels",
      "category", "labels"}},
    {"patient", {"patient", "patient_id", "patientid", "patient id", "subject", "subject_id"}},
    {"fold", {"fold", "cv_fold", "folds"}},
    {"split", {"split", "set", "subset", "partition", "dataset_split"}},
    {"sex", {"sex", "gender", "patient gender", "patient_sex", "patientsex"}},
    {"age", {"age", "patient age", "patient_age", "patientage"}},
    {"view", {"view", "view position", "viewposition", "view_position"}},
};

int pn_split_of_name(const char *name) {
  static const struct {
    const char *name;
    int split;
  } known[] = {{"train", PN_TRAIN}, {"training", PN_TRAIN},  {"val", PN_VAL},
               {"valid", PN_VAL},   {"validation", PN_VAL},  {"dev", PN_VAL},
               {"test", PN_TEST},   {"testing", PN_TEST},    {"holdout", PN_TEST},
               {"eval", PN_TEST},   {"evaluation", PN_TEST}, {"train_val", PN_TRAIN}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcasecmp(name, known[i].name) == 0) return known[i].split;
  return -1;
}

/* Value of "role=value," in the option; length 0: not there. */
static const char *named_column(const char *columns, const char *role, int *length) {
  size_t n = strlen(role);

  *length = 0;
  for (const char *p = columns; *p; p += strcspn(p, ",")) {
    p += strspn(p, ", ");
    if (strncmp(p, role, n) != 0 || p[n] != '=') continue;
    *length = (int)strcspn(p + n + 1, ",");
    return p + n + 1;
  }
  return NULL;
}

static bool is_role(const char *p, size_t n) {
  for (int r = 0; r < ROLES; r++)
    if (strlen(roles[r].role) == n && strncmp(p, roles[r].role, n) == 0) return true;
  return false;
}

static pn_status check_columns_option(const char *columns) {
  for (const char *p = columns; *p; p += strcspn(p, ",")) {
    size_t n;
    p += strspn(p, ", ");
    if (!*p) break;
    n = strcspn(p, "=,");
    if (p[n] != '=' || !is_role(p, n))
      return PN_FAIL(PN_ERR_ARG,
                     "ingest.columns: '%.*s': expected ROLE=COLUMN, role one of path, label, "
                     "patient, fold, split, sex, age, view",
                     (int)strcspn(p, ","), p);
  }
  return PN_OK;
}

static int find_name(const pn_csv *c, const char *name, int length) {
  for (int k = 0; k < c->n_fields; k++)
    if ((int)strlen(c->field[k]) == length && strncasecmp(c->field[k], name, (size_t)length) == 0)
      return k;
  return -1;
}

/* Columns of the header row last read; -1: there is none. */
static pn_status find_columns(const pn_csv *c, const char *columns, int at[ROLES]) {
  for (int r = 0; r < ROLES; r++) {
    int length = 0;
    const char *named = named_column(columns, roles[r].role, &length);
    at[r] = named ? find_name(c, named, length) : -1;
    if (named && length > 0 && at[r] < 0)
      return PN_FAIL(PN_ERR_FORMAT,
                     "%s:%lld: the header has no column '%.*s' (ingest.columns; "
                     "first column: '%s')",
                     c->name, (long long)c->line, length, named, c->field[0]);
    for (int k = 0; !named && at[r] < 0 && k < MAX_NAMES && roles[r].names[k]; k++)
      at[r] = find_name(c, roles[r].names[k], (int)strlen(roles[r].names[k]));
  }
  if (at[PATH] < 0) at[PATH] = at[PATIENT]; /* images named by their PatientID */
  return PN_OK;
}

static pn_status check_found(const pn_csv *c, const int at[ROLES]) {
  if (at[PATH] >= 0 && at[LABEL] >= 0) return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT,
                 "%s:%lld: no column says %s: name it with ingest.columns=%s=COLUMN (columns are "
                 "recognised by names such as %s)",
                 c->name, (long long)c->line,
                 at[LABEL] < 0 ? "the class" : "which image a row is about",
                 at[LABEL] < 0 ? "label" : "path",
                 at[LABEL] < 0 ? "label, class, target, diagnosis" : "path, file, image, id");
}

struct row {
  pn_label label;
  const char *class_text, *fold;
};

static int age_of(const char *text) {
  char *end = NULL;
  double years = strtod(text, &end);

  if (end == text || !(years >= 0)) return -1;
  if (*end == 'M' || *end == 'm') years /= 12;
  if (*end == 'W' || *end == 'w') years /= 52;
  if (*end == 'D' || *end == 'd') years /= 365;
  if (years > MAX_AGE) return -1;
  return years > AGE_CAP ? AGE_CAP : (int)years;
}

static char sex_of(const char *text) {
  int c = toupper((unsigned char)text[0]);
  return c == 'M' || c == 'F' || c == 'O' ? (char)c : 0;
}

/* Only known words are kept: the field may hold anything. */
static void set_view(const char *text, char view[PN_LABEL_VIEW_BYTES]) {
  static const char *const known[][2] = {{"PA", "PA"}, {"AP", "AP"},     {"LL", "LL"},
                                         {"RL", "RL"}, {"LAT", "LL"},    {"L", "LL"},
                                         {"R", "RL"},  {"LATERAL", "LL"}};
  size_t n = strcspn(text, " _-");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i][0]) == n && strncasecmp(text, known[i][0], n) == 0)
      memcpy(view, known[i][1], 3);
}

static const char *field(const pn_csv *c, int column) {
  return column >= 0 ? c->field[column] : "";
}

static pn_status set_split(const pn_csv *c, const int at[ROLES], const pn_table_rules *rules,
                           pn_label *l) {
  const char *fold = field(c, at[FOLD]), *split = field(c, at[SPLIT]);

  l->split = -1;
  if (at[SPLIT] >= 0 && split[0] && (l->split = pn_split_of_name(split)) < 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (%s): '%.40s', expected train, val or test",
                   c->name, (long long)c->line, at[SPLIT] + 1, "split", split);
  if (at[FOLD] < 0 || (!rules->test_fold[0] && !rules->val_fold[0])) return PN_OK;
  if (!fold[0])
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (fold): empty", c->name, (long long)c->line,
                   at[FOLD] + 1);
  l->split = strcmp(fold, rules->test_fold) == 0  ? PN_TEST
             : strcmp(fold, rules->val_fold) == 0 ? PN_VAL
                                                  : PN_TRAIN;
  return PN_OK;
}

/* "./a/b.png" and "a\b.png" of other systems are a/b.png. */
static const char *plain_path(char *path) {
  for (char *p = path; *p; p++)
    if (*p == '\\') *p = '/';
  while (path[0] == '.' && path[1] == '/') path += 2;
  while (path[0] == '/') path++;
  return path;
}

static pn_status read_row(const pn_csv *c, const int at[ROLES], const pn_table_rules *rules,
                          pn_labels *all, pn_label *l) {
  char where[160];
  const char *name = field(c, at[LABEL]), *patient = field(c, at[PATIENT]);
  pn_status st = PN_OK;

  *l = (pn_label){.line = c->line, .age = age_of(field(c, at[AGE]))};
  l->id = plain_path(c->field[at[PATH]]);
  if (!l->id[0])
    return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d (path): must not be empty", c->name,
                   (long long)c->line, at[PATH] + 1);
  if (patient[0]) l->group = patient;
  l->sex = sex_of(field(c, at[SEX]));
  set_view(field(c, at[VIEW]), l->view);
  snprintf(where, sizeof where, "%.80s:%lld: column %d (label)", c->name, (long long)c->line,
           at[LABEL] + 1);
  if (name[0])
    st = pn_labels_class(all, name, where, &l->target);
  else
    l->conflict = "empty_label";
  l->conflict_line = c->line;
  return st == PN_OK ? set_split(c, at, rules, l) : st;
}

static pn_status add_row(pn_labels *l, int64_t *capacity, const pn_label *row) {
  if (l->n == *capacity) {
    int64_t more = *capacity ? 2 * *capacity : 1024;
    pn_label *label = realloc(l->label, (size_t)more * sizeof *label);
    if (!label) return PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
    l->label = label;
    *capacity = more;
  }
  l->label[l->n++] = *row;
  return PN_OK;
}

static int by_id_and_line(const void *a, const void *b) {
  const pn_label *x = a, *y = b;
  int d = strcmp(x->id, y->id);
  return d ? d : (x->line > y->line) - (x->line < y->line);
}

static const char *disagreement(const pn_label *a, const pn_label *b) {
  if (a->target != b->target) return "target_conflict";
  if (a->split != b->split) return "split_conflict";
  if ((a->group == NULL) != (b->group == NULL)) return "patient_conflict";
  return a->group && strcmp(a->group, b->group) != 0 ? "patient_conflict" : NULL;
}

/* Rows of one id become one label. */
static void fold_rows(pn_labels *l) {
  int64_t n = 0;

  if (l->n > 1) qsort(l->label, (size_t)l->n, sizeof *l->label, by_id_and_line);
  for (int64_t i = 0; i < l->n; i++) {
    pn_label *last = n > 0 ? &l->label[n - 1] : NULL, *row = &l->label[i];
    if (!last || strcmp(last->id, row->id) != 0) {
      l->label[n++] = *row;
    } else if (!last->conflict) {
      last->conflict = row->conflict ? row->conflict : disagreement(last, row);
      last->conflict_line = row->line;
    }
  }
  l->n = n;
}

/* A fold that no row has would leave that split empty, or dealt out at random. */
static pn_status check_folds(const pn_csv *c, const pn_table_rules *rules, const pn_labels *l) {
  const char *fold[] = {rules->val_fold, rules->test_fold};

  for (int k = 0; k < 2; k++) {
    bool found = !fold[k][0];
    for (int64_t i = 0; i < l->n && !found; i++)
      found = l->label[i].split == (k == 0 ? PN_VAL : PN_TEST);
    if (!found)
      return PN_FAIL(PN_ERR_ARG, "%s: no row has fold '%s' (ingest.%s_fold)", c->name, fold[k],
                     k == 0 ? "val" : "test");
  }
  return PN_OK;
}

static pn_status check_width(const pn_csv *c, int n_header) {
  if (c->n_fields == n_header) return PN_OK;
  return PN_FAIL(PN_ERR_FORMAT, "%s:%lld: column %d: the row has %d columns, the header %d",
                 c->name, (long long)c->line,
                 c->n_fields < n_header ? c->n_fields + 1 : n_header + 1, c->n_fields, n_header);
}

static pn_status read_rows(pn_csv *c, const pn_table_rules *rules, pn_labels *out) {
  int at[ROLES], n_header;
  int64_t capacity = 0;
  pn_label row;
  bool more;
  pn_status st;

  if ((st = pn_csv_next(c, &more)) != PN_OK) return st;
  if (!more) return PN_FAIL(PN_ERR_FORMAT, "%s: the file is empty", c->name);
  if ((st = check_columns_option(rules->columns)) != PN_OK) return st;
  if ((st = find_columns(c, rules->columns, at)) != PN_OK) return st;
  if ((st = check_found(c, at)) != PN_OK) return st;
  if (at[FOLD] < 0 && (rules->test_fold[0] || rules->val_fold[0]))
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s:%lld: no fold column, but ingest.test_fold or ingest.val_fold is given",
                   c->name, (long long)c->line);
  n_header = c->n_fields;
  while ((st = pn_csv_next(c, &more)) == PN_OK && more) {
    if ((st = check_width(c, n_header)) != PN_OK) return st;
    if ((st = read_row(c, at, rules, out, &row)) != PN_OK) return st;
    if ((st = add_row(out, &capacity, &row)) != PN_OK) return st;
  }
  return st == PN_OK ? check_folds(c, rules, out) : st;
}

pn_status pn_labels_table(pn_csv_text csv, const pn_table_rules *rules, pn_labels *out) {
  pn_csv c;
  pn_status st;

  *out = (pn_labels){0};
  PN_TRY(pn_csv_start(&c, csv.name, csv.text, csv.bytes));
  PN_TRY(read_rows(&c, rules, out));
  fold_rows(out);
done:
  if (st != PN_OK) pn_labels_free(out);
  return st;
}

bool pn_labels_is_table(const char *text, size_t bytes, const char *columns) {
  size_t n = 0;
  int at[ROLES];
  bool more = false, is = false;
  char *line;
  pn_csv c;

  while (n < bytes && text[n] != '\n') n++;
  if (!(line = malloc(n + 1))) return false;
  memcpy(line, text, n);
  line[n] = 0;
  is = pn_csv_start(&c, "", line, n) == PN_OK && pn_csv_next(&c, &more) == PN_OK && more &&
       find_columns(&c, columns, at) == PN_OK && at[PATH] >= 0 && at[LABEL] >= 0;
  free(line);
  return is;
}
