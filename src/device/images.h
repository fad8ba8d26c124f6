/* images.h -- a batch made from stored bytes by a device with memory of its own: what each image
 * gets, in numbers that the host has drawn.  src/data/augment.h says what they mean, and its
 * pn_augment_apply is what the result is compared with. */
#ifndef PN_DEVICE_IMAGES_H
#define PN_DEVICE_IMAGES_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_NOISE_QUANTILES = 4096, PN_GREY_LEVELS = 256, PN_COPY_LANES = 2 };

typedef struct {
  int64_t image; /* its place at `pixels`; < 0: the row is not used */
  /* affine: the place in the source of output pixel (0, 0), and what a column and a row add to it;
   * 32.32 fixed point */
  int64_t x0, y0, x_col, y_col, x_row, y_row;
  uint32_t key[2], counter[4]; /* of the noise */
  float gamma, contrast, brightness, gain[3];
  float noise;    /* standard deviation of what is added to normalised values; 0: none */
  float share;    /* of this image where `other` is mixed in */
  int32_t other;  /* a row; -1: none */
  int32_t cut[4]; /* rows [0, 1), columns [2, 3) */
  int32_t grey, affine, flip; /* is any of it changed? */
  int32_t label;
} pn_image_row;

/* All pointers are far. */
typedef struct {
  int32_t channels, height, width, bits; /* of a pixel: 8 or 16 */
  float mean, sd;
  int32_t black;           /* what geometry brings in from outside is black, else the edge */
  int32_t n, all;          /* images of the batch; rows with those that are mixed in */
  const pn_image_row *row; /* [all] */
  const void *pixels;      /* images one after another, channels x height x width */
  const float *quantile;   /* [PN_NOISE_QUANTILES]; NULL without noise */
  float *table;            /* [all][channels][PN_GREY_LEVELS], scratch */
  float *input;            /* out: [n][channels][height][width], normalised */
  int32_t *label;          /* out: [n] */
} pn_image_job;

/* Beside the other functions of far memory (pn_far_ops).  Copies go by lanes, each with one block
 * under way or in use: begin, arrive, kernels that read the block, done, begin, ...  Those who use
 * a device's lanes take turns: whoever stops leaves no block between begin and done. */
struct pn_device;
typedef struct {
  int64_t (*available)(struct pn_device *d); /* far bytes that are free; < 0: not known */
  /* Queue a copy from memory of pn_device_alloc beside the kernels, behind those before `done`; the
   * host leaves its side alone until settle. */
  pn_status (*begin)(struct pn_device *d, int lane, void *far, const void *host, size_t bytes);
  pn_status (*arrive)(struct pn_device *d, int lane); /* kernels from here on wait for the copy */
  pn_status (*done)(struct pn_device *d, int lane);   /* those so far were the block's readers */
  pn_status (*settle)(struct pn_device *d, int lane); /* the host waits for the copy */
  /* Queue the kernels.  Errors: UNSUPPORTED (2^31 values or more). */
  pn_status (*make)(struct pn_device *d, const pn_image_job *job);
} pn_image_ops;

#endif
