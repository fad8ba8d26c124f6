/* amx_gather.c -- packing of weights and the gathering passes of amx_conv.h. */
#include "device/simd/amx_conv.h"

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("amx-tile,amx-bf16,avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")

#include "device/simd/amx_tile.h"

#include <omp.h>

enum { GROUP_BYTES = 1 << 19 };

int64_t pn_amx_packed(const pn_amx_pass *p) {
  return p->window * p->c * p->k;
}

static inline __m256i to_bf16(const float *x) {
  return (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x));
}

/* 32 channels c of 16 channels k, which lie c by c: rows of the tile are pairs of c. */
static void pack_forward(const float *w, int64_t k_step, pn_bf16 *tile) {
  __m512i r[16];
  for (int k = 0; k < 16; k++, w += k_step)
    r[k] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(w + 16), _mm512_loadu_ps(w));
  transpose16(r);
  for (int i = 0; i < 16; i++) _mm512_store_si512(tile + 32 * i, r[i]);
}

/* The same where c and k change places in memory. */
static void pack_data(const float *w, int64_t c_step, pn_bf16 *tile) {
  for (int i = 0; i < 16; i++, w += 2 * c_step)
    _mm512_store_si512(tile + 32 * i, interleave(to_bf16(w), to_bf16(w + c_step)));
}

/* [group][k / 32][tap][c / 32][2 tiles] */
void pn_amx_pack(const pn_amx_pass *p, bool data, const float *weight, pn_bf16 *packed,
                 int threads) {
  int64_t c_step = data ? p->window * p->k : 1, k_step = data ? 1 : p->window * p->c;
  int64_t tap_step = data ? p->k : p->c;

  for (int i = 0; i < p->n_groups; i++) {
    const pn_amx_group *g = &p->group[i];
    int64_t panel = g->taps * p->c * ROWS;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t kb = 0; kb < p->k / ROWS; kb++)
      for (int t = 0; t < g->taps; t++)
        for (int64_t cb = 0; cb < p->c / 32; cb++)
          for (int h = 0; h < 2; h++) {
            const float *w =
                weight + g->tap[t] * tap_step + (kb * 2 + h) * 16 * k_step + cb * 32 * c_step;
            pn_bf16 *tile = packed + kb * panel + ((t * (p->c / 32) + cb) * 2 + h) * TILE;
            if (data)
              pack_data(w, c_step, tile);
            else
              pack_forward(w, k_step, tile);
          }
    packed += panel * (p->k / ROWS);
  }
}

static int64_t copy_elements(const pn_amx_pass *p) {
  return pn_amx_copy_rows(p) * p->grid[1] * p->c;
}

/* Images that share a panel of weights while it is in the cache. */
static int64_t group_images(const pn_amx_pass *p, int threads) {
  int64_t share = (p->images + threads - 1) / threads, n;

  if (p->direct) return 1;
  n = GROUP_BYTES / (copy_elements(p) * (int64_t)sizeof(pn_bf16));
  n = n < share ? n : share;
  return n > 1 ? n : 1;
}

/* Per thread: the copies of a group's images and room behind them, or the last rows of a block. */
static int64_t thread_elements(const pn_amx_pass *p, int threads) {
  return p->direct ? ROWS * p->c : group_images(p, threads) * copy_elements(p) + ROWS * p->c;
}

size_t pn_amx_gather_scratch(const pn_amx_pass *p, int threads) {
  return (size_t)(threads * thread_elements(p, threads)) * sizeof(pn_bf16);
}

/* 32 pixels of the grid from `x` on, by 32 channels. */
static void block(const pn_amx_pass *p, const pn_amx_group *g, const pn_bf16 *x, const pn_bf16 *w,
                  float sum[ROWS][ROWS]) {
  const size_t row = (size_t)p->c * sizeof *x;

  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int t = 0; t < g->taps; t++) {
    const pn_bf16 *at = x + g->offset[t] * p->c, *end = at + p->c;
    for (; at < end; at += 32, w += 2 * TILE) {
      _tile_loadd(4, at, row);
      _tile_loadd(6, w, 64);
      _tile_loadd(7, w + TILE, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, at + TILE_ROWS * p->c, row);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, &sum[0][0], sizeof sum[0]);
  _tile_stored(1, &sum[0][16], sizeof sum[0]);
  _tile_stored(2, &sum[16][0], sizeof sum[0]);
  _tile_stored(3, &sum[16][16], sizeof sum[0]);
}

static inline __m512 widen(const pn_bf16 *x) {
  __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)x);
  return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

/* Channels [k0, k0 + 32) of the pixel whose element 0 is `at`. */
static inline void finish(const pn_amx_gather_io *io, const float *sum, int64_t at, int64_t k0) {
  __m512 v[2] = {_mm512_load_ps(sum), _mm512_load_ps(sum + 16)};

  for (int h = 0; h < 2; h++) {
    int64_t k = k0 + 16 * h;
    if (io->scale) v[h] = _mm512_mul_ps(v[h], _mm512_loadu_ps(io->scale + k));
    if (io->shift) v[h] = _mm512_add_ps(v[h], _mm512_loadu_ps(io->shift + k));
    if (io->add) v[h] = _mm512_add_ps(v[h], widen(io->add + at + k));
    if (io->relu) v[h] = _mm512_max_ps(_mm512_setzero_ps(), v[h]);
  }
  _mm512_storeu_si512(io->y + at + k0, (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
}

/* 32 channels from k on of one image. */
typedef struct {
  const pn_bf16 *x, *w; /* its copy, the weights of these channels */
  int64_t k, out;       /* out: its first pixel in y */
} channels;

static void gather_channels(const pn_amx_pass *p, const pn_amx_group *g, const pn_amx_gather_io *io,
                            const channels *part) {
  float sum[ROWS][ROWS] __attribute__((aligned(64)));
  int64_t columns = (p->out[1] - g->at[1] + p->step[1] - 1) / p->step[1];
  int64_t cells = (g->rows - 1) * p->grid[1] + columns;

  if (g->rows < 1 || columns < 1) return;
  for (int64_t q = 0; q < cells; q += ROWS) {
    int64_t i = q / p->grid[1], j = q % p->grid[1];
    int64_t n = cells - q < ROWS ? cells - q : ROWS;
    block(p, g, part->x + q * p->c, part->w, sum);
    for (int64_t r = 0; r < n; r++) {
      int64_t h = i * p->step[0] + g->at[0], c = j * p->step[1] + g->at[1];
      if (j < columns) finish(io, sum[r], (part->out + h * p->out[1] + c) * p->k, part->k);
      if (++j == p->grid[1]) {
        j = 0;
        i++;
      }
    }
  }
}

/* Rows [first, first + n) of a matrix; the last ones, if not 32, from a copy. */
static void gather_rows(const pn_amx_pass *p, const pn_amx_gather_io *io, int64_t first, int64_t n,
                        pn_bf16 *tail) {
  float sum[ROWS][ROWS] __attribute__((aligned(64)));
  int64_t whole = n / ROWS * ROWS;
  const pn_bf16 *w = io->packed;

  if (whole < n)
    memcpy(tail, io->x + (first + whole) * p->c, (size_t)((n - whole) * p->c) * sizeof *tail);
  for (int64_t k = 0; k < p->k; k += ROWS, w += p->c * ROWS)
    for (int64_t q = 0; q < n; q += ROWS) {
      block(p, &p->group[0], q < whole ? io->x + (first + q) * p->c : tail, w, sum);
      for (int64_t r = 0; r < ROWS && q + r < n; r++) finish(io, sum[r], (first + q + r) * p->k, k);
    }
}

/* Images [first, end). */
static void gather_images(const pn_amx_pass *p, const pn_amx_gather_io *io, int64_t first,
                          int64_t end, pn_bf16 *own) {
  const pn_bf16 *w = io->packed;
  int64_t in = p->in[0] * p->in[1] * p->c, out = p->out[0] * p->out[1];

  for (int64_t n = first; n < end; n++)
    for (int64_t i = 0; i < pn_amx_copy_rows(p); i++)
      pn_amx_copy_row(p, io->x + n * in, i,
                      own + (n - first) * copy_elements(p) + i * p->grid[1] * p->c);
  for (int i = 0; i < p->n_groups; i++)
    for (int64_t k = 0; k < p->k; k += ROWS, w += p->group[i].taps * p->c * ROWS)
      for (int64_t n = first; n < end; n++) {
        channels part = {own + (n - first) * copy_elements(p), w, k, n * out};
        gather_channels(p, &p->group[i], io, &part);
      }
}

static void gather_block(const pn_amx_pass *p, const pn_amx_gather_io *io, int64_t n,
                         pn_bf16 *own) {
  int64_t first = n * p->grid[1], left = p->out[1] - first;
  gather_rows(p, io, first, left < p->grid[1] ? left : p->grid[1], own);
}

void pn_amx_gather(const pn_amx_pass *p, const pn_amx_gather_io *io, void *scratch, int threads) {
  int64_t each = group_images(p, threads), room = thread_elements(p, threads);
#pragma omp parallel num_threads(threads)
  {
    pn_bf16 *own = (pn_bf16 *)scratch + omp_get_thread_num() * room;
    memset(own + room - ROWS * p->c, 0, (size_t)(ROWS * p->c) * sizeof *own);
    tiles_on();
#pragma omp for schedule(static)
    for (int64_t n = 0; n < p->images; n += each) {
      int64_t end = n + each < p->images ? n + each : p->images;
      if (p->direct)
        gather_block(p, io, n, own);
      else
        gather_images(p, io, n, end, own);
    }
    tiles_off();
  }
}
#endif
