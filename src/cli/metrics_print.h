/* metrics_print.h -- METRICS for people. */
#ifndef PN_CLI_METRICS_PRINT_H
#define PN_CLI_METRICS_PRINT_H

#include "data/dataset.h"
#include "train/metrics.h"

/* Summary line, the table of classes and the confusion matrix on stdout.  Errors: NOMEM. */
pn_status pn_metrics_print(const char *title, const pn_metrics *m, const pn_dataset *d);

#endif
