/* amx_columns.c -- windows of an image as rows of a matrix; see amx_conv.h. */
#include "device/simd/amx_conv.h"

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")

#include <immintrin.h>
#include <string.h>

/* Numbers of a window's row, of a window; bytes of a matrix that stay in the cache. */
enum { SEGMENT = 32, MAX_WIDTH = 512, MATRIX_BYTES = 1 << 18 };

static int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

static int64_t strip_rows(int64_t rows, int64_t row_bytes) {
  int64_t best = 1;

  for (int64_t n = 1; n <= rows && n * row_bytes <= MATRIX_BYTES; n++)
    if (rows % n == 0) best = n;
  return best;
}

bool pn_amx_columns_make(const pn_op_desc *op, pn_amx_columns *out) {
  const pn_window *w = &op->window;
  int64_t channels = op->in.dim[1], pixels;
  pn_op_desc product = {.kind = PN_OP_DENSE};

  *out = (pn_amx_columns){.window = *w, .width = w->kernel[0] * w->kernel[1] * channels};
  if (w->kernel[1] * channels > SEGMENT || out->width > MAX_WIDTH) return false;
  out->strip =
      strip_rows(op->out.dim[2], round_up(out->width, PN_AMX_CHANNELS) * op->out.dim[3] * 2);
  pixels = out->strip * op->out.dim[3];
  product.in = pn_shape2(pixels, round_up(out->width, PN_AMX_CHANNELS));
  product.out = pn_shape2(pixels, op->out.dim[1]);
  product.weight = pn_shape2(op->out.dim[1], product.in.dim[1]);
  out->padded = (pn_amx_pass){.images = 1, .c = channels};
  for (int d = 0; d < 2; d++) {
    out->padded.in[d] = op->in.dim[2 + d];
    out->padded.out[d] = op->out.dim[2 + d];
    out->padded.pad[d] = w->pad_before[d];
    out->padded.split[d] = out->padded.stride[d] = 1;
    out->padded.grid[d] = op->in.dim[2 + d] + w->pad_before[d] + w->pad_after[d];
  }
  return pn_amx_forward_make(&product, &out->product);
}

static int64_t matrix_elements(const pn_amx_columns *c) {
  return c->strip * c->padded.out[1] * c->product.c;
}

size_t pn_amx_columns_bytes(const pn_amx_columns *c) {
  int64_t copy = c->padded.grid[0] * c->padded.grid[1] * c->padded.c;
  return (size_t)(matrix_elements(c) + round_up(copy, SEGMENT)) * sizeof(pn_bf16);
}

/* The windows of output row `h`. */
static void fill_row(const pn_amx_columns *c, const pn_bf16 *copy, int64_t h, pn_bf16 *to) {
  const int64_t *stride = c->window.stride, line = c->padded.grid[1] * c->padded.c;
  int64_t segment = c->window.kernel[1] * c->padded.c, rest = c->product.c - c->width;
  __mmask32 mask = (__mmask32)((1ull << segment) - 1), tail = (__mmask32)((1ull << rest) - 1);

  for (int64_t w = 0; w < c->padded.out[1]; w++, to += c->product.c) {
    const pn_bf16 *x = copy + h * stride[0] * line + w * stride[1] * c->padded.c;
    for (int64_t r = 0; r < c->window.kernel[0]; r++)
      _mm512_mask_storeu_epi16(to + r * segment, mask,
                               _mm512_maskz_loadu_epi16(mask, x + r * line));
    _mm512_mask_storeu_epi16(to + c->width, tail, _mm512_setzero_si512());
  }
}

pn_bf16 *pn_amx_columns_fill(const pn_amx_columns *c, const pn_bf16 *image, int64_t h, void *room,
                             int threads) {
  pn_bf16 *matrix = room, *copy = matrix + matrix_elements(c);
  int64_t line = c->padded.grid[1] * c->padded.c, row = c->padded.out[1] * c->product.c;

#pragma omp parallel num_threads(threads)
  {
    if (h == 0) {
#pragma omp for schedule(static)
      for (int64_t i = 0; i < c->padded.grid[0]; i++)
        pn_amx_copy_row(&c->padded, image, i, copy + i * line);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < c->strip; i++) fill_row(c, copy, h + i, matrix + i * row);
  }
  return matrix;
}
#endif
