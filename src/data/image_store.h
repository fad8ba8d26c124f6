/* image_store.h -- the images of a split on a device with memory of its own: all of them, or those
 * of two batches, which copies bring while another one is computed.  The device makes the batches
 * (device/images.h) from what a ring of descriptions says (data/prefetch.h). */
#ifndef PN_DATA_IMAGE_STORE_H
#define PN_DATA_IMAGE_STORE_H

#include "data/reader.h"
#include "device/device.h"

typedef enum {
  PN_IMAGES_AUTO,     /* resident where they fit, else stream */
  PN_IMAGES_RESIDENT, /* all on the device */
  PN_IMAGES_STREAM,   /* copied batch by batch, two buffers */
  PN_IMAGES_HOST      /* made by the host's threads, as for a device without memory of its own */
} pn_images_where;

typedef struct {
  pn_device *device;       /* borrowed; with far->images */
  const pn_reader *reader; /* borrowed */
  int64_t capacity;        /* most images of a batch, >= 1 */
  pn_images_where where;   /* not HOST */
  int64_t reserve;         /* bytes of the device that others will still ask for */
  int sharing;             /* processes that divide what is free, >= 1 */
} pn_image_store_spec;

/* What was decided, and from what. */
typedef struct {
  pn_images_where where;
  int64_t images, bytes; /* of the split */
  int64_t available;     /* bytes free before, < 0: not known */
  int64_t room;          /* of these for images: less the reserve and what libraries take */
  int64_t taken;         /* bytes of the device that the store takes */
} pn_image_decision;

typedef struct pn_image_store pn_image_store;

bool pn_image_store_can(const pn_device *d); /* it makes batches */
/* Errors: ARG (an order for images on a device that makes no batches). */
pn_status pn_image_store_check(const pn_device *d, pn_images_where where);
/* Bytes of the device that the images of a split take at least: where they are streamed. */
int64_t pn_image_store_least(const pn_reader *r, int64_t capacity);
/* Decides, and copies the images where they stay.  Errors: NOMEM (RESIDENT without room: says what
 * to do), those of the images. */
pn_status pn_image_store_create(const pn_image_store_spec *spec, pn_image_store **out);
void pn_image_store_destroy(pn_image_store *s);
const pn_image_decision *pn_image_store_decision(const pn_image_store *s);
const char *pn_images_where_name(pn_images_where w); /* "resident" */
/* A line of the log; what: "images", "val images".  d: NULL = the host makes the batches: none. */
void pn_image_decision_tell(const char *what, const pn_image_decision *d);

/* Begin to copy a block of a ring (pn_prefetch_block_bytes); at most two are sent and not made. */
pn_status pn_image_store_send(pn_image_store *s, const pn_rows *rows, size_t bytes);
/* Queue kernels: the n images of the block that was sent first to far memory, input N C H W plain
 * and labels. */
pn_status pn_image_store_make(pn_image_store *s, int64_t n, float *input, int32_t *label);
/* Wait until the block that was made last is copied: the host may write it again. */
pn_status pn_image_store_settle(pn_image_store *s);
/* The same for all; what was sent and not made is forgotten. */
pn_status pn_image_store_forget(pn_image_store *s);

#endif
