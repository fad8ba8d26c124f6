/* image_queue.h -- batches that a device makes of a split's images (image_store.h), in the order in
 * which they are asked for: threads describe them ahead (prefetch.h), and the block of the next one
 * travels while this one is computed. */
#ifndef PN_DATA_IMAGE_QUEUE_H
#define PN_DATA_IMAGE_QUEUE_H

#include "data/image_store.h"
#include "data/prefetch.h"

typedef struct pn_image_queue pn_image_queue;

/* ahead: batches described before they are asked for, >= 1; threads: that do it, >= 1.  Errors:
 * those of pn_image_store_create and pn_prefetch_create. */
pn_status pn_image_queue_create(const pn_image_store_spec *store, int ahead, int threads,
                                pn_image_queue **out);
void pn_image_queue_destroy(pn_image_queue *q);
const pn_image_decision *pn_image_queue_decision(const pn_image_queue *q);
/* To be filled by pn_prefetch_submit before and after each pn_image_queue_make. */
pn_prefetch *pn_image_queue_ring(pn_image_queue *q);

/* Queue kernels that make the batch submitted next, n images, in far memory: see
 * pn_image_store_make.  *rows: valid until the next call; also on errors, those of its images, a
 * batch is used up. */
pn_status pn_image_queue_make(pn_image_queue *q, int64_t n, float *input, int32_t *label,
                              pn_rows *rows);
void pn_image_queue_drop(pn_image_queue *q); /* forget all that is submitted */

#endif
