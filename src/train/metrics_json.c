/* metrics_json.c -- METRICS of the JSON vocabulary; a number that is not defined is null. */
#include "train/trainer.h"

#include <math.h>

static json_t *number(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

static json_t *confusion_json(const pn_metrics *m) {
  json_t *rows = json_array();

  for (int i = 0; i < m->n_classes; i++) {
    json_t *row = json_array();
    for (int j = 0; j < m->n_classes; j++)
      json_array_append_new(row, json_integer(m->confusion[i * m->n_classes + j]));
    json_array_append_new(rows, row);
  }
  return rows;
}

static json_t *classes_json(const pn_metrics *m, const pn_dataset *d) {
  json_t *all = json_array();

  for (int c = 0; c < m->n_classes; c++) {
    const struct pn_class_metrics *p = &m->per_class[c];
    const char *name = d && c < pn_dataset_n_classes(d) ? pn_dataset_class_name(d, c) : "";
    json_array_append_new(all, json_pack("{s:s, s:o, s:o, s:o, s:o, s:I}", "name", name,
                                         "precision", number(p->precision), "recall",
                                         number(p->recall), "f1", number(p->f1), "auc",
                                         number(p->auc), "support", (json_int_t)p->support));
  }
  return all;
}

json_t *pn_metrics_json(const pn_metrics *m, const pn_dataset *d) {
  return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)m->n, "loss",
                   number(m->loss), "accuracy", number(m->accuracy), "precision",
                   number(m->precision), "recall", number(m->recall), "f1", number(m->f1), "auc",
                   number(m->auc), "confusion", confusion_json(m), "per_class", classes_json(m, d));
}

json_t *pn_warnings_json(const pn_dataset *d) {
  json_t *all = json_array();
  for (int i = 0; i < pn_dataset_n_warnings(d); i++)
    json_array_append_new(all, json_string(pn_dataset_warning(d, i)));
  return all;
}
