/* norm.h -- batch norm with what follows it, forward and backward, over slabs: one image's pixels
 * of one group of channels that lie side by side. */
#ifndef PN_DEVICE_SIMD_NORM_H
#define PN_DEVICE_SIMD_NORM_H

#include "device/op.h"
#include "tensor/layout.h"

/* How a tensor N C H W (or N F) falls into slabs. */
typedef struct {
  int64_t images, groups, pixels; /* rows N F: one image of N pixels; NHWC: an image may count as
                                     several, so that a slab's neighbours are in the cache */
  int64_t stride;                 /* elements from pixel to pixel */
  int64_t lanes;                  /* channels of a group; of the last one: what is left */
  int64_t image_step, group_step; /* elements */
  int64_t channels;
  pn_dtype type; /* of all big operands: PN_F32 or PN_BF16 */
} pn_norm_view;

/* lanes: of the vectors to use.  False where the tag is none of abcd, acdb, aBcd8b, aBcd16b, ab. */
bool pn_norm_view_make(const pn_layout *l, int lanes, pn_norm_view *out);

/* Per channel, padded to whole vectors; f32.  The planner's AUX. */
enum {
  PN_NORM_MEAN,
  PN_NORM_INV,   /* 1 / sd */
  PN_NORM_SCALE, /* y = scale * x + shift */
  PN_NORM_SHIFT,
  PN_NORM_SUM,     /* of the diffs */
  PN_NORM_PRODUCT, /* of diffs times normalised inputs */
  PN_NORM_D,       /* dx = D * dy + X * x + C */
  PN_NORM_X,
  PN_NORM_C,
  PN_NORM_ARRAYS
};
int64_t pn_norm_padded(const pn_norm_view *v); /* floats of one array */
/* Doubles of scratch: two per image and padded channel. */
int64_t pn_norm_scratch(const pn_norm_view *v);

typedef struct {
  pn_norm_view view;
  pn_norm norm;
  bool relu;
  int threads;
} pn_norm_job;

/* Batch mean and biased variance into MEAN and (as the variance) INV of aux. */
void pn_norm_statistics(const pn_norm_job *j, const void *x, float *aux, double *scratch);
/* y = relu(scale * x + shift + add); add may be NULL. */
void pn_norm_apply(const pn_norm_job *j, const void *x, const void *add, const float *aux, void *y);

/* Operands of the backward passes; d1 and add may be NULL. */
typedef struct {
  const void *x, *d, *d1;
  const void *y;   /* post: the chain's result */
  const void *add; /* data: is added to dx */
  void *out;       /* post: dz; data: dx */
} pn_norm_diffs;

/* dz = d + d1 where y > 0, else 0; its sums into aux. */
void pn_norm_post(const pn_norm_job *j, const pn_norm_diffs *p, float *aux, double *scratch);
/* Sums of d + d1, where the ReLU let pass, into aux. */
void pn_norm_sums(const pn_norm_job *j, const pn_norm_diffs *p, float *aux, double *scratch);
/* dx by the arrays D, X, C of aux, plus add. */
void pn_norm_data(const pn_norm_job *j, const pn_norm_diffs *p, const float *aux);

/* One slab, for the vector files. */
typedef struct {
  int64_t pixels, stride;
  const void *x, *y, *d, *d1, *add;
  void *out;
  const float *aux; /* of the slab's first channel */
  int64_t padded;   /* from array to array of aux */
  bool relu;
} pn_norm_slab;

typedef struct {
  void (*statistics)(const pn_norm_slab *s, double *mean, double *m2);
  void (*apply)(const pn_norm_slab *s);
  void (*post)(const pn_norm_slab *s, double *sum, double *product);
  void (*sums)(const pn_norm_slab *s, double *sum, double *product);
  void (*data)(const pn_norm_slab *s);
} pn_norm_code;

extern const pn_norm_code pn_norm_scalar, pn_norm_scalar_bf16; /* one channel */

#endif
