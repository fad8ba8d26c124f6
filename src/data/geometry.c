/* geometry.c -- which part of an image goes where, and the run over its planes; the sums are in
 * geometry_kernel.c. */
#include "data/geometry.h"

#include "data/geometry_kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pn_resizer {
  pn_resizer_format format;
  int64_t in_h, in_w; /* the tables are for this input */
  pn_fit_map map;
  pn_axis y, x;
  uint32_t *sum, *scratch; /* [width of map.from] */
  uint64_t *wide;          /* [the larger width] */
  void *channel;           /* one plane of an RGB input */
  size_t channel_bytes;
};

static const char *const fit_names[PN_FIT_COUNT] = {"stretch", "letterbox", "crop"};

const char *pn_fit_name(pn_fit fit) {
  return (unsigned)fit < PN_FIT_COUNT ? fit_names[fit] : "?";
}

bool pn_fit_find(const char *name, pn_fit *out) {
  for (int i = 0; i < PN_FIT_COUNT; i++)
    if (strcmp(name, fit_names[i]) == 0) {
      *out = (pn_fit)i;
      return true;
    }
  return false;
}

/* round(a * b / c), at least 1, at most `most` */
static int64_t share(int64_t a, int64_t b, int64_t c, int64_t most) {
  int64_t n = (2 * a * b + c) / (2 * c);
  return n < 1 ? 1 : n > most ? most : n;
}

pn_fit_map pn_fit_make(pn_fit fit, int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w) {
  pn_fit_map m = {.from = {0, 0, in_h, in_w}, .to = {0, 0, out_h, out_w}};
  bool wider = in_w * out_h > in_h * out_w; /* than the target's aspect ratio */

  if (fit == PN_FIT_LETTERBOX && wider) m.to.height = share(in_h, out_w, in_w, out_h);
  if (fit == PN_FIT_LETTERBOX && !wider) m.to.width = share(in_w, out_h, in_h, out_w);
  if (fit == PN_FIT_CROP && wider) m.from.width = share(in_h, out_w, out_h, in_w);
  if (fit == PN_FIT_CROP && !wider) m.from.height = share(in_w, out_h, out_w, in_h);
  m.from.y = (in_h - m.from.height) / 2;
  m.from.x = (in_w - m.from.width) / 2;
  m.to.y = (out_h - m.to.height) / 2;
  m.to.x = (out_w - m.to.width) / 2;
  return m;
}

/* One side of a box: [*at, *at + *length) cut to [from, from + size), moved to the target. */
static pn_box_fate fit_side(float *at, float *length, int64_t from, int64_t size, int64_t to,
                            int64_t to_size) {
  double lo = (double)*at, hi = lo + (double)*length, end = (double)(from + size);
  double factor = (double)to_size / (double)size;
  pn_box_fate fate = PN_BOX_WHOLE;

  if (lo < (double)from || hi > end) fate = PN_BOX_CLIPPED;
  lo = fmax(lo, (double)from);
  hi = fmin(hi, end);
  if (!(hi > lo)) return PN_BOX_OUTSIDE;
  *at = (float)((lo - (double)from) * factor + (double)to);
  *length = (float)((hi - lo) * factor);
  return fate;
}

pn_box_fate pn_fit_box(const pn_fit_map *m, pn_box *b) {
  pn_box is = *b;
  pn_box_fate x = fit_side(&is.x, &is.width, m->from.x, m->from.width, m->to.x, m->to.width);
  pn_box_fate y = fit_side(&is.y, &is.height, m->from.y, m->from.height, m->to.y, m->to.height);

  if (x == PN_BOX_OUTSIDE || y == PN_BOX_OUTSIDE) return PN_BOX_OUTSIDE;
  *b = is;
  return x == PN_BOX_CLIPPED || y == PN_BOX_CLIPPED ? PN_BOX_CLIPPED : PN_BOX_WHOLE;
}

pn_status pn_resizer_create(const pn_resizer_format *f, pn_resizer **out) {
  pn_resizer *r;

  *out = NULL;
  if (f->height < 1 || f->width < 1 || f->height > PN_RESIZE_MAX_SIDE ||
      f->width > PN_RESIZE_MAX_SIDE || (f->channels != 1 && f->channels != 3) ||
      (f->bits != 8 && f->bits != 16) || (unsigned)f->fit >= PN_FIT_COUNT)
    return PN_FAIL(PN_ERR_ARG, "resize to %lld x %lld x %lld, %d bits, fit %d",
                   (long long)f->channels, (long long)f->height, (long long)f->width, f->bits,
                   (int)f->fit);
  if (!(r = calloc(1, sizeof *r))) return PN_FAIL(PN_ERR_NOMEM, "resize: out of memory");
  r->format = *f;
  *out = r;
  return PN_OK;
}

static void free_tables(pn_resizer *r) {
  pn_axis_free(&r->y);
  pn_axis_free(&r->x);
  free(r->sum);
  free(r->scratch);
  free(r->wide);
  r->sum = r->scratch = NULL;
  r->wide = NULL;
  r->in_h = r->in_w = 0;
}

void pn_resizer_destroy(pn_resizer *r) {
  if (!r) return;
  free_tables(r);
  free(r->channel);
  free(r);
}

static pn_status check_input(const pn_resizer *r, const pn_gray *in) {
  if (in->height < 1 || in->width < 1 || in->height > PN_RESIZE_MAX_SIDE ||
      in->width > PN_RESIZE_MAX_SIDE)
    return PN_FAIL(PN_ERR_ARG, "resize: image of %lld x %lld pixels, sides must be 1 to %d",
                   (long long)in->height, (long long)in->width, PN_RESIZE_MAX_SIDE);
  if (in->channels != 1 && in->channels != r->format.channels)
    return PN_FAIL(PN_ERR_ARG, "resize: image of %d channels into one of %lld", in->channels,
                   (long long)r->format.channels);
  return PN_OK;
}

static pn_status make_tables(pn_resizer *r, const pn_gray *in) {
  const pn_resizer_format *f = &r->format;
  int64_t from, to;
  pn_status st;

  if (r->in_h == in->height && r->in_w == in->width) return PN_OK;
  free_tables(r);
  r->map = pn_fit_make(f->fit, in->height, in->width, f->height, f->width);
  if ((st = pn_axis_make(&r->y, r->map.from.height, r->map.to.height)) != PN_OK) return st;
  if ((st = pn_axis_make(&r->x, r->map.from.width, r->map.to.width)) != PN_OK) return st;
  from = r->map.from.width;
  to = r->map.to.width;
  r->sum = malloc((size_t)from * sizeof *r->sum);
  r->scratch = malloc((size_t)from * sizeof *r->scratch);
  r->wide = malloc((size_t)(from > to ? from : to) * sizeof *r->wide);
  if (!r->sum || !r->scratch || !r->wide) return PN_FAIL(PN_ERR_NOMEM, "resize: out of memory");
  r->in_h = in->height; /* only now: a failed try is tried again */
  r->in_w = in->width;
  return PN_OK;
}

static pn_status room_for_channel(pn_resizer *r, const pn_gray *in) {
  size_t need = (size_t)in->height * (size_t)in->width * (size_t)in->bytes_per_pixel;
  void *room;

  if (in->channels == 1 || need <= r->channel_bytes) return PN_OK;
  if (!(room = realloc(r->channel, need)))
    return PN_FAIL(PN_ERR_NOMEM, "resize: plane of %zu bytes: out of memory", need);
  r->channel = room;
  r->channel_bytes = need;
  return PN_OK;
}

/* Pixels of channel c of the input, one plane. */
static const void *channel_of(pn_resizer *r, const pn_gray *in, int c) {
  int64_t n = in->height * in->width;

  if (in->channels == 1) return in->data;
  if (in->bytes_per_pixel == 1) {
    const uint8_t *p = (const uint8_t *)in->data + c;
    for (int64_t i = 0; i < n; i++) ((uint8_t *)r->channel)[i] = p[i * in->channels];
  } else {
    const uint16_t *p = (const uint16_t *)in->data + c;
    for (int64_t i = 0; i < n; i++) ((uint16_t *)r->channel)[i] = p[i * in->channels];
  }
  return r->channel;
}

static void run_plane(pn_resizer *r, const pn_plane *in, uint8_t *out) {
  const pn_rect *to = &r->map.to;
  size_t pixel = (size_t)r->format.bits / 8, row = (size_t)r->format.width * pixel;
  pn_columns c = {&r->x, r->y.total, in->bytes == 1 ? 255 : 65535, r->format.bits};
  bool halve;

  if (to->height < r->format.height || to->width < r->format.width)
    memset(out, 0, (size_t)r->format.height * row);
  out += (size_t)to->y * row + (size_t)to->x * pixel;
  halve = pn_can_halve(&r->y, &c, in);
  for (int64_t y = 0; y < to->height; y++, out += row) {
    if (halve) {
      pn_halve_row(&r->y, y, &c, in, out, r->scratch);
      continue;
    }
    pn_sum_rows(&r->y, y, in, r->sum, r->scratch);
    pn_sum_columns(&c, r->sum, out, r->wide);
  }
}

pn_status pn_resizer_run(pn_resizer *r, const pn_gray *in, void *out) {
  const pn_resizer_format *f = &r->format;
  size_t plane_bytes = (size_t)(f->height * f->width * (f->bits / 8));
  uint8_t *to = out;
  pn_status st;

  if ((st = check_input(r, in)) != PN_OK) return st;
  if ((st = make_tables(r, in)) != PN_OK) return st;
  if ((st = room_for_channel(r, in)) != PN_OK) return st;
  for (int c = 0; c < f->channels; c++, to += plane_bytes) {
    const pn_rect *from = &r->map.from;
    size_t skip = (size_t)(from->y * in->width + from->x) * (size_t)in->bytes_per_pixel;
    pn_plane p = {.stride = in->width,
                  .height = from->height,
                  .width = from->width,
                  .bytes = in->bytes_per_pixel};
    if (c > 0 && in->channels == 1) { /* grey: the planes are the same */
      memcpy(to, out, plane_bytes);
      continue;
    }
    p.data = (const uint8_t *)channel_of(r, in, c) + skip;
    run_plane(r, &p, to);
  }
  return PN_OK;
}
