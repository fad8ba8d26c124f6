/* eval_feed.h -- the batches of an evaluation.  A split is cut into chunks of PN_EVAL_BATCH images
 * in index order; a rank passes over some of them, each as it is, or as it is and then mirrored. */
#ifndef PN_TRAIN_EVAL_FEED_H
#define PN_TRAIN_EVAL_FEED_H

#include "data/image_store.h"
#include "models/models.h"
#include "train/batch.h"

enum { PN_EVAL_BATCH = 32 };

typedef struct pn_eval_feed pn_eval_feed;

/* All borrowed; model: input_mean, input_sd.  The host makes the batches, by device->threads. */
pn_status pn_eval_feed_create(pn_dataset *data, const pn_model_config *model, pn_device *device,
                              pn_eval_feed **out);
void pn_eval_feed_destroy(pn_eval_feed *f);

/* How a device with memory of its own makes them; see pn_image_store_spec. */
typedef struct {
  pn_images_where where;
  bool once;   /* images are asked for once and gain nothing by staying: auto is stream */
  int threads; /* that describe images, >= 1 */
  int64_t reserve;
  int sharing;
} pn_eval_images;
/* Let the device make a split's batches, where it can and `where` allows it.  Errors: those of
 * pn_image_store_check and pn_image_queue_create. */
pn_status pn_eval_feed_on_device(pn_eval_feed *f, pn_split split, const pn_eval_images *how);
int64_t pn_eval_feed_least(const pn_eval_feed *f, pn_split split); /* see pn_image_store_least */
/* NULL: the host makes them. */
const pn_image_decision *pn_eval_feed_decision(const pn_eval_feed *f, pn_split split);

typedef struct {
  pn_split split;
  int64_t first, stride; /* chunks first, first + stride, ... */
  bool mirror;           /* a second pass over each chunk, behind the first */
} pn_eval_passes;
int64_t pn_eval_chunk_images(int64_t n, int64_t chunk); /* of a split of n images */
void pn_eval_feed_start(pn_eval_feed *f, const pn_eval_passes *passes);
/* The next pass's images into the plan's input and labels; *out: their labels and ids, until the
 * next call.  Errors: those of the images. */
typedef struct {
  const int32_t *label;
  const uint64_t *id;
} pn_eval_batch;
pn_status pn_eval_feed_load(pn_eval_feed *f, pn_plan *plan, pn_eval_batch *out);

#endif
