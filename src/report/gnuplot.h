/* gnuplot.h -- runs gnuplot, where it is installed. */
#ifndef PN_REPORT_GNUPLOT_H
#define PN_REPORT_GNUPLOT_H

#include "base/status.h"

/* `gnuplot SCRIPT` in folder `dir`, its messages kept away from ours.  *rc: its exit code, -1:
 * there is no gnuplot.  Errors: IO, NOMEM. */
pn_status pn_gnuplot_run(const char *dir, const char *script, int *rc);

#endif
