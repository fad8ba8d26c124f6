/* amx_weight.c -- gradient of the weights by tiles: the sum over pixels of diff and input.  Both
 * are laid out for it first: the diff's pixels become columns, the input's pixels pairs.  A pair
 * may start at an even or an odd pixel of the copy, by the tap: both are made. */
#include "device/simd/amx_conv.h"

#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("amx-tile,amx-bf16,avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")

#include "device/simd/amx_tile.h"

enum {
  PIXELS = 32,
  CHUNKS = 16,
  MAX_GROUP = 8
}; /* of a tile's row; tiles between loads of the sums; images */

static int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

static int64_t cells_of(const pn_amx_pass *p) {
  return p->direct ? p->grid[1] : (p->group[0].rows - 1) * p->grid[1] + p->out[1];
}

/* Pixels of an image's copy that a tile may read. */
static int64_t copy_pixels(const pn_amx_pass *p) {
  int64_t copy = p->direct ? p->grid[1] : pn_amx_copy_rows(p) * p->grid[1];
  return round_up(copy, PIXELS) + PIXELS;
}

static int64_t copy_elements(const pn_amx_pass *p) {
  return copy_pixels(p) * p->c;
}

static int64_t columns_elements(const pn_amx_pass *p) {
  return round_up(cells_of(p), PIXELS) * p->k;
}

static int64_t zero_elements(const pn_amx_pass *p) {
  return p->c > p->k ? p->c : p->k;
}

static int64_t image_elements(const pn_amx_pass *p) {
  return (p->direct ? 1 : 3) * copy_elements(p) + columns_elements(p);
}

/* Small images are summed several at a time: the sums are loaded and stored less often. */
static int64_t group_images(const pn_amx_pass *p) {
  int64_t n = CHUNKS * PIXELS / round_up(cells_of(p), PIXELS);

  n = n < MAX_GROUP ? n : MAX_GROUP;
  n = n < p->images ? n : p->images;
  return p->direct || n < 1 ? 1 : n;
}

size_t pn_amx_weight_scratch(const pn_amx_pass *p) {
  return (size_t)(zero_elements(p) + group_images(p) * image_elements(p)) * sizeof(pn_bf16);
}

/* Where one image's operands are. */
struct image {
  const pn_bf16 *x, *dy, *zero;
  int64_t rows; /* direct: of this block */
  pn_bf16 *copy, *pairs[2], *columns;
};

static const pn_bf16 *source(const pn_amx_pass *p, const struct image *im, int64_t q) {
  if (p->direct) return q < im->rows ? im->x + q * p->c : im->zero;
  return im->copy + q * p->c;
}

static inline __m256i load16(const pn_bf16 *x) {
  return _mm256_loadu_si256((const __m256i *)(const void *)x);
}

/* Pixels q and q + 1 of every channel, side by side. */
static void make_pair(const pn_amx_pass *p, const struct image *im, int64_t q, pn_bf16 *to) {
  const pn_bf16 *a = source(p, im, q), *b = source(p, im, q + 1);
  for (int64_t c = 0; c < p->c; c += 16)
    _mm512_storeu_si512(to + 2 * c, interleave(load16(a + c), load16(b + c)));
}

static void find_diffs(const pn_amx_pass *p, const struct image *im, int64_t q,
                       const pn_bf16 *pixel[PIXELS]) {
  int64_t i = q / p->grid[1], j = q % p->grid[1];

  for (int n = 0; n < PIXELS; n++) {
    bool inside = p->direct ? q + n < im->rows : i < p->out[0] && j < p->out[1];
    int64_t at = p->direct ? q + n : i * p->out[1] + j;
    pixel[n] = inside ? im->dy + at * p->k : im->zero;
    if (++j == p->grid[1]) {
      j = 0;
      i++;
    }
  }
}

/* 32 pixels of the diff from q on: for each 16 channels a tile of their rows. */
static void make_columns(const pn_amx_pass *p, const struct image *im, int64_t q, pn_bf16 *to) {
  const pn_bf16 *pixel[PIXELS];
  __m512i r[16];

  find_diffs(p, im, q, pixel);
  for (int64_t k = 0; k < p->k; k += 16, to += TILE) {
    for (int i = 0; i < 16; i++)
      r[i] = interleave(load16(pixel[2 * i] + k), load16(pixel[2 * i + 1] + k));
    transpose16(r);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(to + 32 * i, r[i]);
  }
}

static void sums_load(const float *dw, int64_t row, bool first) {
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, dw, (size_t)row * 4);
  _tile_loadd(1, dw + 16, (size_t)row * 4);
  _tile_loadd(2, dw + TILE_ROWS * row, (size_t)row * 4);
  _tile_loadd(3, dw + TILE_ROWS * row + 16, (size_t)row * 4);
}

static void sums_store(float *dw, int64_t row) {
  _tile_stored(0, dw, (size_t)row * 4);
  _tile_stored(1, dw + 16, (size_t)row * 4);
  _tile_stored(2, dw + TILE_ROWS * row, (size_t)row * 4);
  _tile_stored(3, dw + TILE_ROWS * row + 16, (size_t)row * 4);
}

/* 32 x 32 sums of one tap: chunks [first, end) of one image. */
static void add_chunks(const pn_amx_pass *p, const struct image *im, const int64_t at[2],
                       int64_t offset, const int64_t range[2]) {
  const size_t x_row = (size_t)p->c * 4;
  const pn_bf16 *a = im->columns + range[0] * PIXELS * p->k + at[0] / 16 * TILE;
  const pn_bf16 *b =
      im->pairs[offset & 1] + ((offset >> 1) + range[0] * PIXELS / 2) * 2 * p->c + 2 * at[1];

  for (int64_t q = range[0]; q < range[1]; q++, a += PIXELS * p->k, b += PIXELS * p->c) {
    _tile_loadd(4, a, 64);
    _tile_loadd(6, b, x_row);
    _tile_loadd(7, b + 32, x_row);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + TILE, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

/* Images that are summed together. */
struct batch {
  struct image image[MAX_GROUP];
  int n;
  bool first; /* nothing is in the sums yet */
};

/* Filters [k, k + 32) of all channels and taps. */
static void add_filters(const pn_amx_pass *p, const struct batch *b, int64_t k, float *dweight) {
  const pn_amx_group *g = &p->group[0];
  int64_t chunks = ((p->direct ? b->image[0].rows : cells_of(p)) + PIXELS - 1) / PIXELS;
  int64_t row = p->window * p->c;

  for (int64_t q = 0; q < chunks; q += CHUNKS) {
    int64_t range[2] = {q, chunks - q < CHUNKS ? chunks : q + CHUNKS};
    for (int64_t c = 0; c < p->c; c += ROWS)
      for (int t = 0; t < g->taps; t++) {
        float *dw = dweight + k * row + g->tap[t] * p->c + c;
        sums_load(dw, row, b->first && q == 0);
        for (int i = 0; i < b->n; i++)
          add_chunks(p, &b->image[i], (const int64_t[]){k, c}, g->offset[t], range);
        sums_store(dw, row);
      }
  }
}

/* Image n with its room in scratch. */
static struct image image_at(const pn_amx_pass *p, const pn_bf16 *x, const pn_bf16 *dy, int64_t n,
                             pn_bf16 *scratch) {
  struct image im = {.rows = p->grid[1]};
  int64_t in = p->direct ? p->grid[1] : p->in[0] * p->in[1];
  int64_t out = p->direct ? p->grid[1] : p->out[0] * p->out[1];

  if (p->direct && p->in[1] - n * in < in) im.rows = p->in[1] - n * in;
  im.x = x + n * in * p->c;
  im.dy = dy + n * out * p->k;
  im.columns = scratch;
  im.pairs[0] = im.columns + columns_elements(p);
  im.pairs[1] = im.pairs[0] + copy_elements(p); /* these two not where it reads in place */
  im.copy = im.pairs[1] + copy_elements(p);
  return im;
}

/* All threads make an image's operands. */
static void make_operands(const pn_amx_pass *p, const struct image *im) {
  int64_t pairs = copy_pixels(p) / 2 - 1, chunks = round_up(cells_of(p), PIXELS) / PIXELS;
  int phases = p->direct ? 1 : 2; /* in place every tap is even */

  if (!p->direct) {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < pn_amx_copy_rows(p); i++)
      pn_amx_copy_row(p, im->x, i, im->copy + i * p->grid[1] * p->c);
  }
#pragma omp for schedule(static) nowait
  for (int64_t i = 0; i < phases * pairs; i++) {
    int odd = i >= pairs;
    make_pair(p, im, 2 * (i - odd * pairs) + odd, im->pairs[odd] + (i - odd * pairs) * 2 * p->c);
  }
#pragma omp for schedule(static)
  for (int64_t q = 0; q < chunks; q++)
    make_columns(p, im, q * PIXELS, im->columns + q * PIXELS * p->k);
}

/* What tiles read behind the copy counts for nothing, but must be finite. */
static void clear_room(const pn_amx_pass *p, const struct image *im) {
  int64_t used = pn_amx_copy_rows(p) * p->grid[1], room = copy_pixels(p) - used;
  memset(im->copy + used * p->c, 0, (size_t)(room * p->c) * sizeof *im->copy);
  memset(im->pairs[0] + copy_elements(p) - 2 * p->c, 0, (size_t)(2 * p->c) * sizeof *im->copy);
  memset(im->pairs[1] + copy_elements(p) - 2 * p->c, 0, (size_t)(2 * p->c) * sizeof *im->copy);
}

/* Images first, first + 1, ... as far as there are. */
static struct batch batch_at(const pn_amx_pass *p, const pn_amx_weight_io *io, int64_t first,
                             pn_bf16 *scratch) {
  struct batch b = {.first = first == 0 && !io->add};
  int64_t left = p->images - first, most = group_images(p);

  for (; b.n < left && b.n < most; b.n++) {
    pn_bf16 *own = scratch + zero_elements(p) + b.n * image_elements(p);
    b.image[b.n] = image_at(p, io->x, io->dy, first + b.n, own);
    b.image[b.n].zero = scratch;
  }
  return b;
}

void pn_amx_weight(const pn_amx_pass *p, const pn_amx_weight_io *io, void *scratch, int threads) {
  struct batch all = batch_at(p, io, 0, scratch);

  memset(scratch, 0, (size_t)zero_elements(p) * sizeof(pn_bf16));
  for (int i = 0; i < all.n && !p->direct; i++) clear_room(p, &all.image[i]);
#pragma omp parallel num_threads(threads)
  {
    tiles_on();
    for (int64_t n = 0; n < p->images; n += all.n) {
      struct batch b = batch_at(p, io, n, scratch);
      for (int i = 0; i < b.n; i++) make_operands(p, &b.image[i]);
#pragma omp for schedule(static)
      for (int64_t k = 0; k < p->k; k += ROWS) add_filters(p, &b, k, io->dweight);
    }
    tiles_off();
  }
}
#endif
