/* run_plots.h -- curves and confusion matrix of a training run. */
#ifndef PN_REPORT_RUN_PLOTS_H
#define PN_REPORT_RUN_PLOTS_H

#include "train/trainer.h"

/* Write curves.gp and, where the run was evaluated, confusion.gp (scripts with their data inside)
 * into the run's folder and run gnuplot: .svg and .png of each.
 *   record  the run.json object
 *   *drawn  false: there is no gnuplot, only the scripts were written
 * Errors: IO, FORMAT (not a record), NOMEM. */
pn_status pn_run_plots_write(const char *folder, json_t *record, bool *drawn);

#endif
