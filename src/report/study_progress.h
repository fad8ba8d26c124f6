/* study_progress.h -- what the finished runs of a study gave, kept in its folder of rows, so that a
 * study that was stopped goes on.  Private to study*.c; rank 0 only. */
#ifndef PN_REPORT_STUDY_PROGRESS_H
#define PN_REPORT_STUDY_PROGRESS_H

#include "report/study.h"

/* folder/progress.json, or a new one where there is none, and where the study ran on other hosts
 * before: figures of two machines are not compared.  *out: new reference.  Errors: ARG (rows or
 * options of another study), IO, FORMAT, NOMEM. */
pn_status pn_study_progress_open(const char *folder, const pn_study *s, json_t **out);
/* Remember a run, on disk too.  Errors: IO, NOMEM. */
pn_status pn_study_progress_add(json_t *p, const char *folder, int row, int pass,
                                const pn_train_result *r);
/* False: this run is still to be done.  r, may be NULL: as pn_study_progress_add got it, as far as
 * a study looks at it; free it as any other. */
bool pn_study_progress_find(const json_t *p, int row, int pass, pn_train_result *r);

#endif
