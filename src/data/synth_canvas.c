/* synth_canvas.c -- cloudy noise, soft strokes and discs. */
#include "data/synth_chest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = PN_CANVAS_SIDE, PLANE = SIDE * SIDE };

pn_status pn_canvas_create(pn_canvas *c) {
  float *all = calloc((size_t)PLANE * 4, sizeof *all);

  *c = (pn_canvas){0};
  if (!all) return PN_FAIL(PN_ERR_NOMEM, "canvas of %d x %d: out of memory", SIDE, SIDE);
  *c = (pn_canvas){
      .bright = all, .lung = all + PLANE, .texture = all + 2 * PLANE, .mark = all + 3 * PLANE};
  return PN_OK;
}

void pn_canvas_free(pn_canvas *c) {
  free(c->bright); /* all planes are one block */
  *c = (pn_canvas){0};
}

/* Add one octave: a grid of random values, smoothly interpolated. */
static void add_octave(float *plane, pn_rng *rng, int cells, float gain) {
  enum { MAX = 128 };
  float grid[MAX + 1][MAX + 1], mixed[MAX + 1], weight[SIDE];
  int cell[SIDE];

  for (int y = 0; y <= cells; y++)
    for (int x = 0; x <= cells; x++) grid[y][x] = gain * (2 * pn_rng_uniform(rng) - 1);
  for (int x = 0; x < SIDE; x++) {
    float at = (float)x * (float)cells / SIDE;
    cell[x] = (int)at;
    weight[x] = pn_smooth(at - (float)cell[x]);
  }
  for (int y = 0; y < SIDE; y++) {
    const float *above = grid[cell[y]], *below = grid[cell[y] + 1];
    float *row = plane + (size_t)y * SIDE;

    for (int x = 0; x <= cells; x++) mixed[x] = above[x] + weight[y] * (below[x] - above[x]);
    for (int x = 0; x < SIDE; x++) {
      float a = mixed[cell[x]];
      row[x] += a + weight[x] * (mixed[cell[x] + 1] - a);
    }
  }
}

void pn_canvas_noise(float *plane, pn_rng rng, int cells, int octaves) {
  float gain = 0.7f;

  memset(plane, 0, PLANE * sizeof *plane);
  for (int k = 0; k < octaves; k++, cells *= 2, gain *= 0.6f) add_octave(plane, &rng, cells, gain);
}

/* Pixels x0..x1, y0..y1, both included, cut to the canvas. */
typedef struct {
  int x0, y0, x1, y1;
} frame;

static int clamp_pixel(float x) {
  return x <= 0 ? 0 : x >= SIDE - 1 ? SIDE - 1 : (int)x;
}

static frame frame_of(const float a[2], const float b[2], float reach) {
  return (frame){clamp_pixel(fminf(a[0], b[0]) - reach), clamp_pixel(fminf(a[1], b[1]) - reach),
                 clamp_pixel(fmaxf(a[0], b[0]) + reach + 1),
                 clamp_pixel(fmaxf(a[1], b[1]) + reach + 1)};
}

static void grow(frame *f, frame g) {
  if (g.x0 < f->x0) f->x0 = g.x0;
  if (g.y0 < f->y0) f->y0 = g.y0;
  if (g.x1 > f->x1) f->x1 = g.x1;
  if (g.y1 > f->y1) f->y1 = g.y1;
}

/* One straight piece from a to b (pixels) into the scratch plane, by maximum: joints do not add
 * up. */
static void mark_piece(pn_canvas *c, const float a[2], const float b[2], float radius, float gain,
                       frame *touched) {
  frame f = frame_of(a, b, radius);
  float dx = b[0] - a[0], dy = b[1] - a[1], inv = 1 / fmaxf(dx * dx + dy * dy, 1e-6f);
  float inv_r2 = 1 / (radius * radius);

  for (int y = f.y0; y <= f.y1; y++) {
    float *mark = c->mark + (size_t)y * SIDE, py = (float)y - a[1];
    for (int x = f.x0; x <= f.x1; x++) {
      float px = (float)x - a[0], t = (px * dx + py * dy) * inv, ex, ey, m;
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      ex = px - t * dx;
      ey = py - t * dy;
      m = gain * pn_hump2((ex * ex + ey * ey) * inv_r2);
      mark[x] = m > mark[x] ? m : mark[x];
    }
  }
  grow(touched, f);
}

/* Move the scratch plane to the picture and clear it. */
static void settle(pn_canvas *c, frame f, float sign, bool inside_lung) {
  for (int y = f.y0; y <= f.y1; y++) {
    size_t row = (size_t)y * SIDE;
    for (int x = f.x0; x <= f.x1; x++) {
      float m = sign * c->mark[row + (size_t)x];
      c->bright[row + (size_t)x] += inside_lung ? m * c->lung[row + (size_t)x] : m;
      c->mark[row + (size_t)x] = 0;
    }
  }
}

static void to_pixel(const pn_chest *k, float u, float v, float p[2]) {
  p[0] = (k->to_x[0] * u + k->to_x[1] * v + k->to_x[2]) * SIDE;
  p[1] = (k->to_y[0] * u + k->to_y[1] * v + k->to_y[2]) * SIDE;
}

void pn_canvas_stroke(pn_canvas *c, const pn_chest *chest, const pn_stroke *s) {
  enum { PIECES = 14 };
  frame touched = {SIDE, SIDE, -1, -1};
  float sign = s->gain0 < 0 ? -1.0f : 1.0f, p[2], q[2];

  to_pixel(chest, s->u[0], s->v[0], p);
  for (int k = 1; k <= PIECES; k++) {
    float t = (float)k / PIECES, a = (1 - t) * (1 - t), b = 2 * t * (1 - t), d = t * t;
    float width = s->width0 + (s->width1 - s->width0) * t;
    float gain = s->gain0 + (s->gain1 - s->gain0) * t;

    to_pixel(chest, a * s->u[0] + b * s->u[1] + d * s->u[2],
             a * s->v[0] + b * s->v[1] + d * s->v[2], q);
    mark_piece(c, p, q, fmaxf(0.5f * width * SIDE, 0.8f), sign * gain, &touched);
    memcpy(p, q, sizeof p);
  }
  settle(c, touched, sign, s->inside_lung);
}

void pn_canvas_disc(pn_canvas *c, const pn_chest *chest, const pn_disc *d) {
  float p[2], r = d->radius * SIDE, inv = 1 / fmaxf(d->edge * r, 0.5f);
  frame f;

  to_pixel(chest, d->u, d->v, p);
  f = frame_of(p, p, r + 1);
  for (int y = f.y0; y <= f.y1; y++)
    for (int x = f.x0; x <= f.x1; x++) {
      float dx = (float)x - p[0], dy = (float)y - p[1];
      c->bright[(size_t)y * SIDE + (size_t)x] +=
          d->gain * pn_smooth((r - sqrtf(dx * dx + dy * dy)) * inv + 0.5f);
    }
}

void pn_canvas_letter(pn_canvas *c, char letter, float x, float y, float h, float gain) {
  /* x0 y0 x1 y1 in units of h, a row per stroke */
  static const struct {
    char letter;
    float line[4];
  } strokes[] = {{'L', {0, 0, 0, 1}},
                 {'L', {0, 1, 0.55f, 1}},
                 {'A', {0, 1, 0.35f, 0}},
                 {'A', {0.35f, 0, 0.7f, 1}},
                 {'A', {0.14f, 0.62f, 0.56f, 0.62f}},
                 {'P', {0, 0, 0, 1}},
                 {'P', {0, 0, 0.5f, 0.08f}},
                 {'P', {0.5f, 0.08f, 0.5f, 0.45f}},
                 {'P', {0.5f, 0.45f, 0, 0.52f}}};
  frame touched = {SIDE, SIDE, -1, -1};

  for (size_t k = 0; k < sizeof strokes / sizeof *strokes; k++) {
    const float *l = strokes[k].line;
    float a[2] = {(x + l[0] * h) * SIDE, (y + l[1] * h) * SIDE};
    float b[2] = {(x + l[2] * h) * SIDE, (y + l[3] * h) * SIDE};
    if (strokes[k].letter == letter) mark_piece(c, a, b, 0.13f * h * SIDE, gain, &touched);
  }
  settle(c, touched, 1, false);
}
