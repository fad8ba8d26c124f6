/* study_csv.c -- study.csv: one line a row, all digits, empty where there is no number. */
#include "report/cells.h"
#include "report/study.h"
#include "report/tables.h"

static const pn_table_column csv_columns[] = {{"name", "", false},
                                              {"status", "", false},
                                              {"strategy", "", false},
                                              {"scaling", "", false},
                                              {"batch_rule", "", false},
                                              {"device", "", false},
                                              {"precision", "", false},
                                              {"ranks", "", true},
                                              {"threads", "", true},
                                              {"cores", "", true},
                                              {"oversubscribed", "", true},
                                              {"other_batch", "", true},
                                              {"global_batch", "", true},
                                              {"runs", "", true},
                                              {"steps_timed", "", true},
                                              {"step", "ms", true},
                                              {"step_ci95_lo", "ms", true},
                                              {"step_ci95_hi", "ms", true},
                                              {"step_p95", "ms", true},
                                              {"images_per_s", "", true},
                                              {"over_one_rank", "", true},
                                              {"speedup", "", true},
                                              {"efficiency", "", true},
                                              {"karp_flatt", "", true},
                                              {"comm_exposed_share", "", true},
                                              {"seconds", "", true},
                                              {"loss", "", true},
                                              {"val_loss", "", true},
                                              {"val_accuracy", "", true},
                                              {"val_precision", "", true},
                                              {"val_recall", "", true},
                                              {"weights_sha256", "", false}};
enum { CSV_COLUMNS = sizeof csv_columns / sizeof *csv_columns };

static void csv_line(const pn_study_row *r, pn_cells *l) {
  const double measured[] = {r->step.median,  r->step.ci95[0],  r->step.ci95[1], r->step.p95,
                             r->images_per_s, r->over_one_rank, r->speedup,      r->efficiency,
                             r->karp_flatt,   r->comm_share,    r->seconds,      r->loss,
                             r->val_loss,     r->accuracy,      r->precision,    r->recall};
  l->n = 0;
  pn_cells_put(l, "%s", r->name);
  pn_cells_put(l, "%s", r->status);
  pn_cells_put(l, "%s", r->train.strategy);
  pn_cells_put(l, "%s", r->weak ? "weak" : "strong");
  pn_cells_put(l, "%s", r->train.batch_global ? "global" : "local");
  pn_cells_put(l, "%s", r->ok ? r->device : r->train.device);
  pn_cells_put(l, "%s", r->train.precision);
  pn_cells_put(l, "%d", r->ranks);
  if (!r->ok) {
    while (l->n < CSV_COLUMNS) pn_cells_put(l, "%s", "");
    return;
  }
  pn_cells_put(l, "%d", r->threads);
  pn_cells_put(l, "%d", r->cores);
  pn_cells_put(l, "%d", r->oversubscribed);
  pn_cells_put(l, "%d", r->other_batch);
  pn_cells_put(l, "%lld", (long long)r->global_batch);
  pn_cells_put(l, "%d", r->n_repeats);
  pn_cells_put(l, "%lld", (long long)r->step.n);
  for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) pn_cells_digits(l, measured[i]);
  pn_cells_put(l, "%s", r->weights_sha256);
}

pn_status pn_study_csv(const pn_study *s, char **out) {
  pn_table *t = NULL;
  pn_status st;
  pn_cells l;

  *out = NULL;
  PN_TRY(pn_table_create(csv_columns, CSV_COLUMNS, &t));
  for (int i = 0; i < s->n; i++) {
    csv_line(&s->rows[i], &l);
    PN_TRY(pn_table_add(t, l.cell));
  }
  st = pn_table_csv(t, out);
done:
  pn_table_destroy(t);
  return st;
}
