/* feed.h -- the training batches of one rank, step by step: read in the step, or ahead of it. */
#ifndef PN_TRAIN_FEED_H
#define PN_TRAIN_FEED_H

#include "data/augment.h"
#include "data/image_store.h"
#include "models/models.h"
#include "train/batch.h"

typedef struct pn_feed pn_feed;

typedef struct {
  pn_dataset *data;                 /* borrowed */
  const pn_model_config *model;     /* input_mean, input_sd */
  const pn_augment_config *augment; /* copied */
  const pn_batches *batches;        /* borrowed */
  const float *weight;              /* [images of the split], in the mean loss; NULL: all 1 */
  const float *class_weight;        /* [classes], with weight: of what is mixed in */
  const pn_class_groups *groups;    /* that mixup takes its other image from; NULL: all */
  int threads;                      /* that read in the step, >= 1 */
  int ahead, ahead_threads;         /* batches read ahead (0: none), and by how many threads */
  pn_device *device;                /* borrowed; what follows matters where it has own memory */
  pn_images_where where;
  int64_t reserve; /* see pn_image_store_spec */
  int sharing;
} pn_feed_spec;

/* Errors: ARG, NOMEM.  Nothing is allocated afterwards. */
pn_status pn_feed_create(const pn_feed_spec *spec, pn_feed **out);
void pn_feed_destroy(pn_feed *f);
/* Where the device finds the images; NULL: the host makes the batches. */
const pn_image_decision *pn_feed_decision(const pn_feed *f);

/* Steps [first, last) of an epoch follow, in this order; order: [images], borrowed until the next
 * start. */
void pn_feed_start(pn_feed *f, uint32_t epoch, const int64_t *order, int64_t first, int64_t last);
/* The images of the next part of a step into the plan's input and labels; scale = weight / (sum of
 * weights of the step over all ranks); of a mixed image the mixture of both weights, its target
 * that of both weighted labels, and the sum that of the images themselves.  Parts that this rank
 * has, in their order.  Errors: those of its images; after one the next part may be asked for all
 * the same. */
pn_status pn_feed_load(pn_feed *f, int64_t step, int64_t part, pn_plan *plan);
/* Of the batch loaded last: seed is not set. */
pn_step_ctx pn_feed_context(const pn_feed *f);

#endif
