/* metrics_print.c -- see metrics_print.h. */
#include "cli/metrics_print.h"

#include "cli/units.h"
#include "report/tables.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIXED_COLUMNS = 6 };

static pn_status add_class(pn_table *t, const pn_metrics *m, const pn_dataset *d, int i) {
  const struct pn_class_metrics *c = &m->per_class[i];
  pn_text p = pn_text_share(c->precision), r = pn_text_share(c->recall), f = pn_text_share(c->f1);
  pn_text a = pn_text_share(c->auc), n = pn_text_count(c->support);
  const char *cells[FIXED_COLUMNS] = {pn_dataset_class_name(d, i), p.s, r.s, f.s, a.s, n.s};

  return pn_table_add(t, cells);
}

static pn_status print_table(const pn_table *t) {
  char *text = NULL;
  pn_status st = pn_table_text(t, &text);
  if (st == PN_OK) fputs(text, stdout);
  free(text);
  return st;
}

static pn_status print_classes(const pn_metrics *m, const pn_dataset *d) {
  static const pn_table_column columns[FIXED_COLUMNS] = {
      {"class", "", false}, {"precision", "", true}, {"recall", "", true},
      {"F1", "", true},     {"AUC", "", true},       {"images", "", true}};
  pn_status st = PN_OK;
  pn_table *t = NULL;

  PN_TRY(pn_table_create(columns, FIXED_COLUMNS, &t));
  for (int i = 0; i < m->n_classes; i++) PN_TRY(add_class(t, m, d, i));
  PN_TRY(print_table(t));
done:
  pn_table_destroy(t);
  return st;
}

static void print_absent(const pn_metrics *m) {
  int absent = 0;

  for (int i = 0; i < m->n_classes; i++) absent += m->per_class[i].support == 0;
  if (m->n > 0 && m->n_classes > 2 && absent)
    printf(
        "%d of %d classes have no images here; those never answered either are not in the means\n",
        absent, m->n_classes);
}

static pn_status add_truth(pn_table *t, const pn_metrics *m, const pn_dataset *d, int truth) {
  const char *cells[PN_MAX_CLASSES + 1];
  pn_text count[PN_MAX_CLASSES];

  cells[0] = pn_dataset_class_name(d, truth);
  for (int i = 0; i < m->n_classes; i++) {
    count[i] = pn_text_count(m->confusion[truth * m->n_classes + i]);
    cells[i + 1] = count[i].s;
  }
  return pn_table_add(t, cells);
}

static pn_status print_confusion(const pn_metrics *m, const pn_dataset *d) {
  pn_table_column columns[PN_MAX_CLASSES + 1] = {{"truth \\ answer", "", false}};
  pn_status st = PN_OK;
  pn_table *t = NULL;

  for (int i = 0; i < m->n_classes; i++)
    columns[i + 1] = (pn_table_column){pn_dataset_class_name(d, i), "", true};
  PN_TRY(pn_table_create(columns, m->n_classes + 1, &t));
  for (int i = 0; i < m->n_classes; i++) PN_TRY(add_truth(t, m, d, i));
  PN_TRY(print_table(t));
done:
  pn_table_destroy(t);
  return st;
}

pn_status pn_metrics_print(const char *title, const pn_metrics *m, const pn_dataset *d) {
  pn_status st = PN_OK;

  printf("%s: %s images, loss %.4f, accuracy %s, precision %s, recall %s, F1 %s, AUC %s\n\n", title,
         pn_text_count(m->n).s, m->loss, pn_text_share(m->accuracy).s,
         pn_text_share(m->precision).s, pn_text_share(m->recall).s, pn_text_share(m->f1).s,
         pn_text_share(m->auc).s);
  PN_TRY(print_classes(m, d));
  print_absent(m);
  putchar('\n');
  PN_TRY(print_confusion(m, d));
  for (int i = 0; i < pn_dataset_n_warnings(d); i++)
    printf("%sWarning: %s\n", i ? "" : "\n", pn_dataset_warning(d, i));
done:
  return st;
}
