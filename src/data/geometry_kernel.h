/* geometry_kernel.h -- one plane, one axis: weights and sums of the resizer.  Private to
 * geometry*.c. */
#ifndef PN_DATA_GEOMETRY_KERNEL_H
#define PN_DATA_GEOMETRY_KERNEL_H

#include "base/status.h"

#include <stdint.h>

/* Output i = sum over j < taps of weight[i * taps + j] * in[start[i] + j], divided by total.  The
 * weights are whole numbers and add up to total: overlap in units of 1 / out pixel (area), or
 * distance in units of 1 / (2 out) (linear), both divided by what in and out have in common. */
typedef struct {
  int64_t in, out, taps;
  int32_t *start;   /* [out]; start + taps <= in */
  uint32_t *weight; /* [out][taps] */
  uint32_t total;
} pn_axis;
pn_status pn_axis_make(pn_axis *a, int64_t in, int64_t out); /* frees what *a had */
void pn_axis_free(pn_axis *a);

typedef struct {
  const void *data; /* first pixel */
  int64_t stride;   /* pixels from row to row */
  int64_t height, width;
  int bytes; /* of a pixel: 1 or 2 */
} pn_plane;

/* sum[x] = weighted rows of output row y, times y->total; scratch: [width].  Never overflows:
 * sides <= 16384. */
void pn_sum_rows(const pn_axis *y, int64_t row, const pn_plane *in, uint32_t *sum,
                 uint32_t *scratch);
typedef struct {
  const pn_axis *x;
  uint32_t rows_total; /* pn_axis.total of the rows */
  uint32_t largest;    /* value of an input pixel: 255 or 65535 */
  int bits;            /* of the output: 8 or 16 */
} pn_columns;
/* out[i] = weighted columns of sum / (both totals), in the output's bits, rounded to the nearest.
 * sum is changed; scratch: [the larger of x->in and x->out] */
void pn_sum_columns(const pn_columns *c, uint32_t *sum, void *out, uint64_t *scratch);

/* Bytes to bytes, both sides shrunk by powers of 2: the same pixels, several times as fast. */
bool pn_can_halve(const pn_axis *y, const pn_columns *c, const pn_plane *in);
/* Output row `row`; scratch: [width]. */
void pn_halve_row(const pn_axis *y, int64_t row, const pn_columns *c, const pn_plane *in, void *out,
                  uint32_t *scratch);

#endif
