/* augment_resample.c -- flip, zoom, shear, rotation and translation as one bilinear resampling. */
#include "data/augment_internal.h"

#include <math.h>

static int64_t fixed(double x) {
  return llround(x * 0x1p32);
}

bool pn_is_affine(const pn_draw *d) {
  return d->zoom != 1 || d->shear != 0 || d->angle != 0 || d->shift[0] != 0 || d->shift[1] != 0;
}

/* An output place p shows the source at M^-1 (p - centre - shift) + centre, where M is
 * rotation * shear * zoom * flip. */
pn_places pn_make_places(const pn_draw *d, int64_t height, int64_t width) {
  double cx = (double)(width - 1) / 2, cy = (double)(height - 1) / 2;
  double c = cos(d->angle), s = sin(d->angle), k = tan(d->shear), z = 1 / d->zoom;
  double f = d->flip ? -1 : 1;
  /* M^-1 = flip * (1 / zoom) * [1 -k; 0 1] * [c s; -s c] */
  double xx = f * z * (c + k * s), xy = f * z * (s - k * c), yx = z * -s, yy = z * c;
  double ox = -cx - d->shift[1], oy = -cy - d->shift[0];

  return (pn_places){.x0 = fixed(xx * ox + xy * oy + cx),
                     .y0 = fixed(yx * ox + yy * oy + cy),
                     .x_col = fixed(xx),
                     .y_col = fixed(yx),
                     .x_row = fixed(xy),
                     .y_row = fixed(yy)};
}

static int64_t clamp(int64_t i, int64_t n) {
  return i < 0 ? 0 : i < n ? i : n - 1;
}

static float tap(const float *in, int64_t h, int64_t w, int64_t y, int64_t x, const float *fill) {
  if (fill && (x < 0 || x >= w || y < 0 || y >= h)) return *fill;
  return in[clamp(y, h) * w + clamp(x, w)];
}

static float lerp(float a, float b, float t) {
  return a + t * (b - a);
}

static float share(int64_t place) {
  return (float)(uint32_t)place * 0x1p-32f;
}

/* At and beyond the border. */
static float sample_border(const float *in, int64_t h, int64_t w, const int64_t at[2],
                           const float *fill) {
  int64_t y = at[0] >> 32, x = at[1] >> 32;
  float u = share(at[1]);

  return lerp(lerp(tap(in, h, w, y, x, fill), tap(in, h, w, y, x + 1, fill), u),
              lerp(tap(in, h, w, y + 1, x, fill), tap(in, h, w, y + 1, x + 1, fill), u),
              share(at[0]));
}

void pn_resample(const pn_draw *d, int64_t height, int64_t width, const float *fill,
                 const float *in, float *out) {
  const pn_places m = pn_make_places(d, height, width);
  const uint64_t inner_x = (uint64_t)(width - 1), inner_y = (uint64_t)(height - 1);

  for (int64_t r = 0; r < height; r++) {
    int64_t x = m.x0 + r * m.x_row, y = m.y0 + r * m.y_row;
    float *row = out + r * width;
    for (int64_t c = 0; c < width; c++, x += m.x_col, y += m.y_col) {
      int64_t ix = x >> 32, iy = y >> 32;
      if ((uint64_t)ix < inner_x && (uint64_t)iy < inner_y) {
        const float *p = in + iy * width + ix;
        float u = share(x);
        row[c] = lerp(lerp(p[0], p[1], u), lerp(p[width], p[width + 1], u), share(y));
      } else {
        row[c] = sample_border(in, height, width, (int64_t[2]){y, x}, fill);
      }
    }
  }
}
