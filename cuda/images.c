/* images.c -- batches from stored bytes, and the copies that bring them: pn_image_ops. */
#include "cuda_device.h"

static int64_t images_available(pn_device *d) {
  cu_device *c = d->impl;
  return c->backend->available(c->impl);
}

static pn_status images_begin(pn_device *d, int lane, void *far, const void *host, size_t bytes) {
  cu_device *c = d->impl;
  return c->backend->copy_begin(c->impl, lane, far, host, bytes);
}

static pn_status images_arrive(pn_device *d, int lane) {
  cu_device *c = d->impl;
  return c->backend->copy_arrive(c->impl, lane);
}

static pn_status images_done(pn_device *d, int lane) {
  cu_device *c = d->impl;
  return c->backend->copy_done(c->impl, lane);
}

static pn_status images_settle(pn_device *d, int lane) {
  cu_device *c = d->impl;
  return c->backend->copy_settle(c->impl, lane);
}

/* The levels of all rows, then the pixels that look them up. */
static pn_status images_make(pn_device *d, const pn_image_job *job) {
  cu_state s = {.device = d->impl};
  int64_t values = (int64_t)job->n * job->channels * job->height * job->width;
  int64_t levels = (int64_t)job->all * job->channels * PN_GREY_LEVELS;
  pn_status st;

  if (values > INT32_MAX || levels > INT32_MAX)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "%s: a batch of %lld values, at most 2^31 - 1", d->ops->name,
                   (long long)values);
  PN_TRY(cu_launch(&s, CU_K_image_table, false, job, levels));
  PN_TRY(cu_launch(&s, CU_K_image_pixels, cu_wide(job->width), job, values));
done:
  return st;
}

const pn_image_ops cu_image_ops = {.available = images_available,
                                   .begin = images_begin,
                                   .arrive = images_arrive,
                                   .done = images_done,
                                   .settle = images_settle,
                                   .make = images_make};
