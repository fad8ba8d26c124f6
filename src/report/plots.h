/* plots.h -- the two plots of a study, drawn by gnuplot when it is installed. */
#ifndef PN_REPORT_PLOTS_H
#define PN_REPORT_PLOTS_H

#include "report/study.h"

/* Write speedup.gp and efficiency.gp (scripts with their data inside: rerun them with
 * `gnuplot speedup.gp`) into dir and run gnuplot, which makes .svg and .png of each.
 *   *drawn  false: there is no gnuplot, only the scripts were written
 * Errors: IO (cannot write, gnuplot failed), NOMEM. */
pn_status pn_plots_write(const pn_study *s, const char *dir, bool *drawn);

#endif
