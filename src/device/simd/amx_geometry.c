/* amx_geometry.c -- grids, taps and offsets of amx_conv.h. */
#include "device/simd/amx_conv.h"

#include <string.h>

enum { BLOCK_BYTES = 1 << 19, ROWS = 32 };

/* A matrix of `rows` pixels, read in place. */
static void direct_pass(int64_t rows, pn_amx_pass *p) {
  int64_t block = BLOCK_BYTES / (2 * p->c) / ROWS * ROWS;

  block = block < ROWS ? ROWS : block;
  p->direct = true;
  p->images = (rows + block - 1) / block;
  p->in[0] = p->out[0] = 1;
  p->in[1] = p->out[1] = rows; /* of all blocks */
  p->grid[0] = 1;
  p->grid[1] = block;
  p->split[0] = p->split[1] = p->stride[0] = p->stride[1] = p->step[0] = p->step[1] = 1;
  p->n_groups = 1;
  p->window = 1;
  p->group[0] = (pn_amx_group){.taps = 1, .rows = 1};
}

static bool fits(int64_t c, int64_t k) {
  return c % PN_AMX_CHANNELS == 0 && k % PN_AMX_CHANNELS == 0;
}

static bool one_to_one(const pn_op_desc *op) {
  for (int d = 0; d < 2; d++)
    if (op->window.kernel[d] != 1 || op->window.stride[d] != 1 || op->window.pad_before[d] ||
        op->window.pad_after[d])
      return false;
  return true;
}

/* Dense layers and convolutions that are plain products; *done false: neither. */
static bool make_direct(const pn_op_desc *op, bool data, pn_amx_pass *p, bool *done) {
  int64_t o = op->weight.dim[0], i = pn_shape_count(op->weight) / o;
  bool dense = op->kind == PN_OP_DENSE;

  *p = (pn_amx_pass){.c = data ? o : i, .k = data ? i : o};
  *done = dense || one_to_one(op);
  if (!*done) return false;
  if (!fits(p->c, p->k)) return false;
  direct_pass(dense ? op->in.dim[0] : op->in.dim[0] * op->in.dim[2] * op->in.dim[3], p);
  return true;
}

bool pn_amx_forward_make(const pn_op_desc *op, pn_amx_pass *out) {
  const pn_window *w = &op->window;
  pn_amx_group *g = &out->group[0];
  bool done, direct = make_direct(op, false, out, &done);

  if (done) return direct;
  *out = (pn_amx_pass){.images = op->in.dim[0], .c = op->in.dim[1], .k = op->out.dim[1]};
  out->window = w->kernel[0] * w->kernel[1];
  if (!fits(out->c, out->k) || out->window > PN_AMX_TAPS) return false;
  for (int d = 0; d < 2; d++) {
    out->in[d] = op->in.dim[2 + d];
    out->out[d] = op->out.dim[2 + d];
    out->split[d] = w->stride[d] < w->kernel[d] ? w->stride[d] : w->kernel[d];
    if (w->stride[d] > 2) return false;
    out->pad[d] = w->pad_before[d];
    out->stride[d] = w->stride[d];
    out->grid[d] = out->out[d] + (w->kernel[d] - 1) / w->stride[d];
    out->step[d] = 1;
  }
  out->n_groups = 1;
  g->rows = out->out[0];
  for (int64_t r = 0; r < w->kernel[0]; r++)
    for (int64_t s = 0; s < w->kernel[1]; s++) {
      int64_t phase = r % w->stride[0] * out->split[1] + s % w->stride[1];
      g->tap[g->taps] = (int)(r * w->kernel[1] + s);
      g->offset[g->taps++] =
          (phase * out->grid[0] + r / w->stride[0]) * out->grid[1] + s / w->stride[1];
    }
  return true;
}

/* Input row h of the padded image p + h = stride * i + a reads the taps a, a + stride, ... of the
 * window at the output rows i, i - 1, ...; the grid of phase a starts at the first i with h >= 0.
 */
static int64_t first_row(const pn_window *w, int d, int64_t a) {
  int64_t over = w->pad_before[d] - a;
  return over > 0 ? (over + w->stride[d] - 1) / w->stride[d] : 0;
}

static void data_group(const pn_window *w, const int64_t phase[2], const int64_t least[2],
                       pn_amx_pass *p) {
  pn_amx_group *g = &p->group[p->n_groups++];
  int64_t first[2];

  *g = (pn_amx_group){.taps = 0};
  for (int d = 0; d < 2; d++) {
    first[d] = first_row(w, d, phase[d]);
    g->at[d] = w->stride[d] * first[d] + phase[d] - w->pad_before[d];
  }
  g->rows = g->at[0] < p->out[0] ? (p->out[0] - 1 - g->at[0]) / p->step[0] + 1 : 0;
  for (int64_t r = phase[0]; r < w->kernel[0]; r += w->stride[0])
    for (int64_t s = phase[1]; s < w->kernel[1]; s += w->stride[1]) {
      int64_t row = first[0] - least[0] + (w->kernel[0] - 1) / w->stride[0] - r / w->stride[0];
      int64_t col = first[1] - least[1] + (w->kernel[1] - 1) / w->stride[1] - s / w->stride[1];
      g->tap[g->taps] = (int)(r * w->kernel[1] + s);
      g->offset[g->taps++] = row * p->grid[1] + col;
    }
}

bool pn_amx_data_make(const pn_op_desc *op, pn_amx_pass *out) {
  const pn_window *w = &op->window;
  int64_t least[2];
  bool done, direct = make_direct(op, true, out, &done);

  if (done) return direct;
  *out = (pn_amx_pass){.images = op->in.dim[0], .c = op->out.dim[1], .k = op->in.dim[1]};
  out->window = w->kernel[0] * w->kernel[1];
  if (!fits(out->c, out->k) || out->window > PN_AMX_TAPS) return false;
  for (int d = 0; d < 2; d++) {
    int64_t reach = (w->kernel[d] - 1) / w->stride[d];
    if (w->stride[d] > 2 || w->pad_before[d] >= w->kernel[d]) return false;
    out->in[d] = op->out.dim[2 + d];
    out->out[d] = op->in.dim[2 + d];
    out->split[d] = out->stride[d] = 1;
    out->step[d] = w->stride[d];
    least[d] = first_row(w, d, w->stride[d] - 1);
    out->pad[d] = reach - least[d];
    /* the furthest that a phase's grid reaches, and all of the diff */
    int64_t steps = (out->out[d] + w->stride[d] - 1) / w->stride[d];
    out->grid[d] = steps + first_row(w, d, 0) - least[d] + reach;
    if (out->grid[d] < out->in[d] + out->pad[d]) out->grid[d] = out->in[d] + out->pad[d];
  }
  for (int64_t a = 0; a < w->stride[0]; a++)
    for (int64_t b = 0; b < w->stride[1]; b++) data_group(w, (const int64_t[]){a, b}, least, out);
  return true;
}

int64_t pn_amx_copy_rows(const pn_amx_pass *p) {
  return p->split[0] * p->split[1] * p->grid[0];
}

void pn_amx_copy_row(const pn_amx_pass *p, const pn_bf16 *x, int64_t row, pn_bf16 *to) {
  int64_t phase = row / p->grid[0], b = phase % p->split[1], stride = p->stride[1];
  int64_t h = p->stride[0] * (row % p->grid[0]) + phase / p->split[1] - p->pad[0];
  int64_t first = (p->pad[1] - b + stride - 1) / stride; /* the first column inside the image */
  int64_t end = (p->in[1] - 1 + p->pad[1] - b) / stride + 1;
  size_t pixel = (size_t)p->c * sizeof *x;

  end = end < p->grid[1] ? end : p->grid[1];
  if (first < 0) first = 0;
  if (h < 0 || h >= p->in[0] || end <= first) {
    memset(to, 0, (size_t)p->grid[1] * pixel);
    return;
  }
  memset(to, 0, (size_t)first * pixel);
  x += (h * p->in[1] + stride * first + b - p->pad[1]) * p->c;
  if (stride == 1)
    memcpy(to + first * p->c, x, (size_t)(end - first) * pixel);
  else
    for (int64_t j = first; j < end; j++, x += stride * p->c) memcpy(to + j * p->c, x, pixel);
  memset(to + end * p->c, 0, (size_t)(p->grid[1] - end) * pixel);
}
