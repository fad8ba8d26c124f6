/* evaluate.h -- scores of a whole split, by all ranks together.
 *
 * The images are cut into chunks of PN_EVAL_BATCH in index order; chunk j goes to rank j mod size.
 * Each image thus lies in the same row of the same plan whatever the number of ranks: no padding
 * that counts, no image twice, and the same bits everywhere. */
#ifndef PN_TRAIN_EVALUATE_H
#define PN_TRAIN_EVALUATE_H

#include "comm/comm.h"
#include "data/dataset.h"
#include "models/models.h"
#include "nn/plan.h"
#include "train/eval_feed.h"
#include "train/metrics.h"

typedef struct {
  const pn_graph *graph; /* all borrowed */
  pn_device *device;
  pn_dtype precision;
  const pn_param_map *map; /* NULL: choose one (see pn_evaluator_map) */
  pn_comm *comm;
  pn_dataset *data;
  const pn_model_config *model;
  const char *scores_path; /* CSV of each run's probabilities, written by rank 0; NULL: none */
  bool flip; /* probabilities: the mean of those of an image and of its mirror image; the loss is
                the cross-entropy of the mean */
} pn_eval_spec;

typedef struct pn_evaluator pn_evaluator;
pn_status pn_evaluator_create(const pn_eval_spec *spec, pn_evaluator **out); /* not collective */
void pn_evaluator_destroy(pn_evaluator *e);
const pn_param_map *pn_evaluator_map(const pn_evaluator *e);
/* Of the next runs; far: see pn_plan_bind_far; NULL: none. */
void pn_evaluator_bind(pn_evaluator *e, float *params, const pn_far_places *far);
pn_plan_memory pn_evaluator_memory(const pn_evaluator *e);
pn_eval_feed *pn_evaluator_feed(pn_evaluator *e); /* whose batches the host makes at first */

/* Collective; errors are agreed upon.  *out owned by the caller (pn_metrics_free). */
pn_status pn_evaluator_run(pn_evaluator *e, pn_split split, pn_metrics *out);

#endif
