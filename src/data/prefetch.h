/* prefetch.h -- batches made ahead of their step by threads of this rank: a ring of fixed buffers,
 * filled image by image in the order of the batches.  One thread uses the calls below; the threads
 * inside call neither MPI nor HDF5. */
#ifndef PN_DATA_PREFETCH_H
#define PN_DATA_PREFETCH_H

#include "data/reader.h"
#include "device/device.h"

typedef struct pn_prefetch pn_prefetch;

typedef struct {
  const pn_reader *reader; /* borrowed */
  int64_t capacity;        /* most images of a batch */
  int depth;               /* batches in the ring, >= 1 */
  int threads;             /* >= 1 */
  pn_device *device;       /* NULL: images as floats.  Else their descriptions for this device, in
                              its fast host memory; borrowed */
  bool pixels;             /* the stored images too */
} pn_prefetch_spec;

/* Starts the threads.  Errors: ARG, NOMEM.  Nothing is allocated afterwards. */
pn_status pn_prefetch_create(const pn_prefetch_spec *spec, pn_prefetch **out);
void pn_prefetch_destroy(pn_prefetch *p); /* ends the threads, whatever they have begun */

bool pn_prefetch_full(const pn_prefetch *p);
/* Of the batches queued from now on: are the images mirrored?  See pn_reader. */
void pn_prefetch_mirror(pn_prefetch *p, bool mirror);
/* Queue a batch: images index[0 .. n) of the split in `epoch`, n <= capacity; the ring is not full.
 * index is borrowed until the batch is released.  An error is kept for pn_prefetch_take. */
void pn_prefetch_submit(pn_prefetch *p, uint32_t epoch, const int64_t *index, int64_t n);
/* Wait for the oldest batch.  *rows: its images, valid until pn_prefetch_release.  Errors: those of
 * its images (the first one's); it must be released all the same. */
pn_status pn_prefetch_take(pn_prefetch *p, pn_rows *rows);
void pn_prefetch_release(pn_prefetch *p);
/* The batch behind the oldest one, if it is ready and all its images could be read. */
bool pn_prefetch_peek(pn_prefetch *p, pn_rows *rows);
/* Descriptions and pixels of a batch are one block of so many bytes that starts at rows.row. */
size_t pn_prefetch_block_bytes(const pn_prefetch *p);
void pn_prefetch_drop(pn_prefetch *p); /* wait for all batches and forget them */

#endif
