/* study_config.h -- the rows of a study: section `study: rows:` of a configuration. */
#ifndef PN_CLI_STUDY_CONFIG_H
#define PN_CLI_STUDY_CONFIG_H

#include "cli/options.h"
#include "report/study.h"

/* Read study.rows of the YAML file `path`.  Each row starts as a copy of `o`; its own keys come on
 * top, except where the command line has set the same key.  Keys of a row: name, ranks, scaling
 * (strong, weak), strategy, threads, batch, batch_rule, device, precision, and any option of
 * `train` that is not data.path.
 *   *out  owned by the caller
 * Not collective.  Errors: ARG with FILE:LINE (unknown key: names the nearest), NOMEM. */
pn_status pn_study_config(const char *path, const pn_options *o, const pn_dataset *d,
                          pn_study **out);

#endif
