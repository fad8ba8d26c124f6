/* image_queue.c -- see image_queue.h. */
#include "data/image_queue.h"

#include "base/fault.h"

#include <math.h>
#include <stdlib.h>

struct pn_image_queue {
  pn_image_store *store;
  pn_prefetch *ring;
  bool held, sent; /* the ring's oldest batch was used; the next one is on its way */
};

/* Two batches leave the ring late: the one in use and the next. */
pn_status pn_image_queue_create(const pn_image_store_spec *store, int ahead, int threads,
                                pn_image_queue **out) {
  pn_image_queue *q = calloc(1, sizeof *q);
  pn_prefetch_spec ring = {.reader = store->reader,
                           .capacity = store->capacity,
                           .depth = ahead + 2,
                           .threads = threads,
                           .device = store->device};
  pn_status st = PN_OK;

  *out = NULL;
  if (!q) return PN_FAIL(PN_ERR_NOMEM, "images on the device: out of memory");
  PN_TRY(pn_image_store_create(store, &q->store));
  ring.pixels = pn_image_store_decision(q->store)->where == PN_IMAGES_STREAM;
  PN_TRY(pn_prefetch_create(&ring, &q->ring));
  *out = q;
  q = NULL;
done:
  pn_image_queue_destroy(q);
  return st;
}

void pn_image_queue_destroy(pn_image_queue *q) {
  if (!q) return;
  pn_image_store_destroy(q->store); /* first: it copies from the ring */
  pn_prefetch_destroy(q->ring);
  free(q);
}

const pn_image_decision *pn_image_queue_decision(const pn_image_queue *q) {
  return pn_image_store_decision(q->store);
}

pn_prefetch *pn_image_queue_ring(pn_image_queue *q) {
  return q->ring;
}

/* The batch that was used last goes back to the ring; its copy is over long ago. */
static pn_status release_held(pn_image_queue *q) {
  pn_status st;

  if (!q->held) return PN_OK;
  q->held = false;
  st = pn_image_store_settle(q->store);
  pn_prefetch_release(q->ring);
  return st;
}

static pn_status send(pn_image_queue *q, const pn_rows *rows) {
  return pn_image_store_send(q->store, rows, pn_prefetch_block_bytes(q->ring));
}

pn_status pn_image_queue_make(pn_image_queue *q, int64_t n, float *input, int32_t *label,
                              pn_rows *rows) {
  pn_rows next;
  pn_status st = PN_OK;

  PN_TRY(release_held(q));
  q->held = true;
  PN_TRY(pn_prefetch_take(q->ring, rows));
  PN_TRY(pn_fault_at(PN_FAULT_READ, &rows->row[0].brightness));
  if (isnan(rows->row[0].brightness)) rows->row[0].grey = 1;
  if (!q->sent) PN_TRY(send(q, rows));
  q->sent = false;
  PN_TRY(pn_image_store_make(q->store, n, input, label));
  if (pn_fault_armed == PN_FAULT_READ || !pn_prefetch_peek(q->ring, &next)) return PN_OK;
  PN_TRY(send(q, &next));
  q->sent = true;
done:
  return st;
}

void pn_image_queue_drop(pn_image_queue *q) {
  (void)pn_image_store_forget(q->store); /* a copy's error shows again in the next */
  q->held = q->sent = false;
  pn_prefetch_drop(q->ring);
}
