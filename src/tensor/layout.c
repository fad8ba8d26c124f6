/* layout.c -- parser of layout tags, and packing by a walk over memory order.
 *
 * A parsed tag is a list of axes, outermost first.  Each axis runs over `extent` positions and
 * moves the logical index of dimension `dim` by `step`: "aBcd16b" with b = 20 has the axes
 * a, b (extent 2, step 16), c, d, b (extent 16, step 1). */
#include "tensor/layout.h"

#include "base/bf16.h"
#include "base/fp16.h"

#include <string.h>

enum { MAX_AXES = 12, MAX_BLOCK = 1 << 16 };

struct axis {
  int dim;
  int64_t extent, step;
};

struct axes {
  int n;
  struct axis axis[MAX_AXES];
};

static pn_status bad_tag(const pn_layout *l, const char *why) {
  char shape[64];
  pn_shape_text(l->shape, shape, sizeof shape);
  return PN_FAIL(PN_ERR_ARG, "layout tag \"%s\" for shape %s: %s", l->tag, shape, why);
}

/* The letters before the first number: the order of the (outer) dimensions. */
static const char *parse_outer(const char *s, int n_dims, struct axes *out, bool *blocked) {
  unsigned seen = 0;

  for (; (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'); s++) {
    bool upper = *s <= 'Z';
    int dim = *s - (upper ? 'A' : 'a');
    if (dim >= n_dims || (seen & 1u << dim)) return NULL;
    seen |= 1u << dim;
    blocked[dim] = upper;
    out->axis[out->n++] = (struct axis){.dim = dim, .step = 1};
  }
  return out->n == n_dims ? s : NULL;
}

/* The blocks, e.g. "16b16a": each appends an axis. */
static bool parse_blocks(const char *s, int n_dims, struct axes *out, const bool *blocked) {
  while (*s) {
    int64_t extent = 0;
    for (; *s >= '0' && *s <= '9' && extent <= MAX_BLOCK; s++) extent = 10 * extent + (*s - '0');
    int dim = *s - 'a';
    if (extent < 1 || extent > MAX_BLOCK || dim < 0 || dim >= n_dims || !blocked[dim]) return false;
    if (out->n == MAX_AXES) return false;
    out->axis[out->n++] = (struct axis){.dim = dim, .extent = extent};
    s++;
  }
  return true;
}

/* Steps of the blocks from the innermost outwards, then the extents of the outer axes. */
static bool resolve(const pn_layout *l, struct axes *a, const bool *blocked) {
  int n_dims = l->shape.n_dims;
  int64_t block[PN_MAX_DIMS];

  for (int d = 0; d < n_dims; d++) block[d] = 1;
  for (int i = a->n - 1; i >= n_dims; i--) {
    a->axis[i].step = block[a->axis[i].dim];
    block[a->axis[i].dim] *= a->axis[i].extent;
  }
  for (int i = 0; i < n_dims; i++) {
    struct axis *x = &a->axis[i];
    if (blocked[x->dim] != (block[x->dim] > 1)) return false;
    x->step = block[x->dim];
    x->extent = (l->shape.dim[x->dim] + x->step - 1) / x->step;
  }
  return true;
}

static pn_status parse(const pn_layout *l, struct axes *out) {
  bool blocked[PN_MAX_DIMS] = {false};
  const char *rest;

  out->n = 0;
  if (!memchr(l->tag, '\0', sizeof l->tag)) return PN_FAIL(PN_ERR_ARG, "layout tag too long");
  if (!l->tag[0]) return bad_tag(l, "not chosen yet");
  if (!(rest = parse_outer(l->tag, l->shape.n_dims, out, blocked)))
    return bad_tag(l, "each dimension must occur once before the blocks");
  if (!parse_blocks(rest, l->shape.n_dims, out, blocked))
    return bad_tag(l, "a block is a number and the lower-case letter of an upper-case dimension");
  if (!resolve(l, out, blocked)) return bad_tag(l, "an upper-case dimension has no block");
  return PN_OK;
}

pn_layout pn_layout_plain(pn_shape s) {
  pn_layout l = {.shape = s};
  for (int i = 0; i < s.n_dims; i++) l.tag[i] = (char)('a' + i);
  return l;
}

pn_layout pn_layout_any(pn_shape s) {
  return (pn_layout){.shape = s};
}

bool pn_layout_is_plain(const pn_layout *l) {
  pn_layout plain = pn_layout_plain(l->shape);
  return strcmp(plain.tag, l->tag) == 0;
}

bool pn_layout_equal(const pn_layout *a, const pn_layout *b) {
  return a->type == b->type && pn_shape_equal(a->shape, b->shape) && strcmp(a->tag, b->tag) == 0;
}

pn_status pn_layout_count(const pn_layout *l, int64_t *count) {
  struct axes a;
  pn_status st = parse(l, &a);

  *count = 0;
  if (st != PN_OK) return st;
  *count = 1;
  for (int i = 0; i < a.n; i++) *count *= a.axis[i].extent;
  return PN_OK;
}

pn_status pn_layout_bytes(const pn_layout *l, size_t *bytes) {
  int64_t count;
  pn_status st = pn_layout_count(l, &count);

  *bytes = (size_t)count * pn_dtype_bytes(l->type);
  return st;
}

/* One row along the innermost axis, whose first element has logical index `at`.  Offsets in the
 * logical array, -1 in the padding. */
static void row_offsets(const pn_layout *l, const struct axis *inner, const int64_t *at,
                        int64_t *first, int64_t *stride, int64_t *valid) {
  int64_t offset = 0, unit = 1, left = l->shape.dim[inner->dim] - at[inner->dim];
  bool inside = true;

  for (int d = l->shape.n_dims - 1; d >= 0; d--) {
    if (d == inner->dim) *stride = unit * inner->step;
    inside = inside && at[d] < l->shape.dim[d];
    offset += at[d] * unit;
    unit *= l->shape.dim[d];
  }
  *first = offset;
  *valid = inside ? (left + inner->step - 1) / inner->step : 0;
  if (*valid > inner->extent) *valid = inner->extent;
}

/* Odometer over all axes but the innermost. */
static bool next_row(const struct axes *a, int64_t *digit, int64_t *at) {
  for (int i = a->n - 2; i >= 0; i--) {
    const struct axis *x = &a->axis[i];
    at[x->dim] += x->step;
    if (++digit[i] < x->extent) return true;
    at[x->dim] -= x->extent * x->step;
    digit[i] = 0;
  }
  return false;
}

static void pack_row(const float *from, int64_t stride, int64_t valid, int64_t extent, float *to) {
  for (int64_t i = 0; i < valid; i++) to[i] = from[i * stride];
  for (int64_t i = valid; i < extent; i++) to[i] = 0;
}

static void pack_row_half(pn_dtype type, const float *from, int64_t stride, int64_t valid,
                          int64_t extent, uint16_t *to) {
  for (int64_t i = 0; i < valid; i++)
    to[i] = type == PN_BF16 ? pn_bf16_of(from[i * stride]) : pn_fp16_of(from[i * stride]);
  for (int64_t i = valid; i < extent; i++) to[i] = 0;
}

static void unpack_row(const pn_layout *l, const void *stored, int64_t at, int64_t valid, float *to,
                       int64_t stride) {
  if (l->type == PN_BF16)
    for (int64_t i = 0; i < valid; i++)
      to[i * stride] = pn_bf16_to_f32(((const pn_bf16 *)stored)[at + i]);
  else if (l->type == PN_FP16)
    for (int64_t i = 0; i < valid; i++)
      to[i * stride] = pn_fp16_to_f32(((const pn_fp16 *)stored)[at + i]);
  else
    for (int64_t i = 0; i < valid; i++) to[i * stride] = ((const float *)stored)[at + i];
}

/* The one walk of pack (from `logical`) and unpack (from `stored`). */
static pn_status walk(const pn_layout *l, float *logical, void *stored, bool pack) {
  struct axes a;
  int64_t digit[MAX_AXES] = {0}, at[PN_MAX_DIMS] = {0}, row = 0, first, stride = 0, valid;
  pn_status st = parse(l, &a);
  const struct axis *inner;

  if (st != PN_OK) return st;
  for (int i = 0; i < a.n; i++)
    if (a.axis[i].extent == 0) return PN_OK;
  inner = &a.axis[a.n - 1];
  do {
    row_offsets(l, inner, at, &first, &stride, &valid);
    if (!pack)
      unpack_row(l, stored, row, valid, logical + first, stride);
    else if (l->type == PN_F32)
      pack_row(logical + first, stride, valid, inner->extent, (float *)stored + row);
    else
      pack_row_half(l->type, logical + first, stride, valid, inner->extent,
                    (uint16_t *)stored + row);
    row += inner->extent;
  } while (next_row(&a, digit, at));
  return PN_OK;
}

pn_status pn_layout_pack(const pn_layout *l, const float *logical, void *stored) {
  return walk(l, (float *)logical, stored, true);
}

pn_status pn_layout_unpack(const pn_layout *l, const void *stored, float *logical) {
  return walk(l, logical, (void *)stored, false);
}
