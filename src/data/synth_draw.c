/* synth_draw.c -- from the numbers of a chest to the bytes of its picture. */
#include "data/synth_chest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = PN_CANVAS_SIDE, FULL = PN_SYNTH_SIDE };

static float range(pn_rng *r, double lo, double hi) {
  return (float)pn_rng_range(r, lo, hi);
}

/* Ribs: bands that repeat along v, bent by the course of the table. */
static float ribs(const pn_chest *c, const float *course, float v, int col, float shift) {
  float k = (v - course[col]) / c->rib_spacing + shift, n = floorf(k), at = (k - n - 0.5f);
  int i = (int)n + 2;
  float edge = fabsf(at) / c->rib_width; /* 1 = the rib's border, where the bone is dense */
  float bone = pn_smooth((1 - edge) * 5 + 0.5f) * (0.72f + 0.45f * pn_hump((edge - 0.8f) * 3));

  return i < 0 || i >= PN_CHEST_RIBS ? 0 : bone * c->rib_gain[i];
}

static float skeleton(const pn_chest *c, float a, float v, int row, int col, int side) {
  float cage = pn_smooth((c->lateral[side][row] + 0.05f - a) * 14) * pn_smooth((a - 0.06f) * 12) *
               pn_smooth((v + 0.08f) * 10) * pn_smooth((1.22f - v) * 6);
  float front = pn_smooth((a - 0.26f) * 5) * pn_smooth((v - 0.1f) * 5);

  if (cage <= 0) return 0;
  return c->rib_strength * cage *
         (ribs(c, c->back, v, col, 0.1f) + 0.45f * front * ribs(c, c->front, v, col, 3.2f));
}

/* Spine, mediastinum and windpipe. */
static float middle(const pn_chest *c, float u, float v, int row) {
  float at = u - c->midline;
  float out = 0.10f * pn_hump(at / 0.24f) + c->spine[row] * pn_hump(at / 0.11f);

  if (v < 0.34f)
    out -= 0.07f * pn_hump((at - 0.01f) / 0.055f) * pn_smooth((0.34f - v) * 8) *
           pn_smooth((v + 0.4f) * 5);
  return out;
}

static float breasts(const pn_chest *c, float a, float v) {
  float x = (a - 0.52f) / 0.42f, y = (v - 0.72f) / 0.36f, r2 = x * x + y * y;
  return c->breast * pn_smooth((1 - r2) * (y > 0 ? 4.0f : 1.2f));
}

/* Brightness and lung mask of one pixel, without what is drawn on top. */
static float pixel(const pn_chest *c, float u, float v, float texture, float *lung) {
  int row = pn_chest_row(v), col = pn_chest_col(u), side = u > c->midline;
  float a = fabsf(u), edge = a / c->body[row], depth, mask, heart_mask, below, out;

  *lung = 0;
  if (edge > 1.06f) return 0.015f;
  out = pn_smooth((1.05f - edge) * 9) * (0.47f + 0.17f * (1 - edge * edge));
  mask = pn_chest_lung(c, u, v);
  heart_mask = pn_chest_heart(c, u, v);
  below = pn_smooth((v - c->dome[col]) * 6 + 0.3f);
  depth = c->lateral[side][row] - c->medial[side][row];
  depth = (a - c->medial[side][row]) / fmaxf(depth, 0.05f);
  out -= c->lung_depth * mask * (0.72f + 0.9f * depth * (1 - depth) + 0.06f * texture);
  out += middle(c, u, v, row) + 0.07f * heart_mask * (1 - below) + 0.13f * below;
  out += skeleton(c, a, v, row, col, side) * (1 - 0.55f * heart_mask) * (1 - 0.6f * below);
  if (c->breast > 0) out += breasts(c, a, v);
  *lung = mask;
  return out + 0.012f * texture;
}

static void draw_body(const pn_chest *c, pn_canvas *k) {
  const float step = 1.0f / SIDE;

  for (int y = 0; y < SIDE; y++) {
    float py = ((float)y + 0.5f) * step, px = 0.5f * step;
    float u = c->to_u[0] * px + c->to_u[1] * py + c->to_u[2];
    float v = c->to_v[0] * px + c->to_v[1] * py + c->to_v[2];
    size_t at = (size_t)y * SIDE;

    for (int x = 0; x < SIDE; x++, at++) {
      float fx = (float)x * step;
      k->bright[at] =
          pixel(c, u + c->to_u[0] * fx, v + c->to_v[0] * fx, k->texture[at], &k->lung[at]);
    }
  }
}

/* Collar bones, shoulder blades and arms. */
static void draw_bones(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  for (int side = 0; side < 2; side++) {
    float s = side ? 1.0f : -1.0f, lift = range(rng, -0.04, 0.05), out = range(rng, 0.72, 0.86);
    pn_stroke collar = {{s * 0.09f + c->midline, s * 0.42f, s * out},
                        {0.15f, 0.12f + lift, -0.07f + lift},
                        0.026f,
                        0.020f,
                        0.10f,
                        0.09f,
                        false};
    pn_stroke blade = {{s * 0.72f, s * 0.80f, s * 0.92f},
                       {0.02f, 0.30f, 0.52f},
                       0.05f,
                       0.03f,
                       0.045f,
                       0.03f,
                       false};
    pn_stroke arm = {
        {s * 1.08f, s * 1.28f, s * 1.38f}, {0.10f, 0.35f, 1.1f}, 0.16f, 0.13f, 0.16f, 0.24f, false};
    pn_stroke bone = {{s * 0.97f, s * 1.20f, s * 1.34f},
                      {0.03f, 0.35f, 1.1f},
                      0.06f,
                      0.035f,
                      0.09f,
                      0.08f,
                      false};
    pn_canvas_stroke(k, c, &collar);
    pn_canvas_stroke(k, c, &blade);
    pn_canvas_stroke(k, c, &arm);
    pn_canvas_stroke(k, c, &bone);
  }
}

/* Vessels spread from each hilum and fade outwards. */
static void draw_vessels(const pn_chest *c, pn_canvas *k, pn_rng rng) {
  enum { PER_LUNG = 26 };
  float strength = c->findings.streaks ? 0.095f : 0.055f;

  for (int n = 0; n < 2 * PER_LUNG; n++) {
    float s = n & 1 ? 1.0f : -1.0f, angle = range(&rng, -1.25, 1.35),
          reach = range(&rng, 0.16, 0.6);
    float u0 = s * range(&rng, 0.15, 0.22), v0 = range(&rng, 0.36, 0.52),
          bend = range(&rng, -0.1, 0.1);
    float du = s * reach * cosf(angle), dv = reach * sinf(angle),
          gain = strength * range(&rng, 0.4, 1.2);
    pn_stroke vessel = {{u0, u0 + 0.5f * du, u0 + du},
                        {v0, v0 + 0.5f * dv + bend, v0 + dv + 0.4f * bend},
                        0.011f,
                        0.004f,
                        gain,
                        0.15f * gain,
                        true};
    pn_canvas_stroke(k, c, &vessel);
  }
}

/* Opacities: soft clouds inside the lungs, broken up by the texture. */
static void draw_cloud(const pn_chest *c, pn_canvas *k, const pn_cloud *cloud) {
  const float step = 1.0f / SIDE;

  for (int y = 0; y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) {
      size_t at = (size_t)y * SIDE + (size_t)x;
      float px = ((float)x + 0.5f) * step, py = ((float)y + 0.5f) * step, du, dv, a, b, soft;
      if (k->lung[at] <= 0) continue;
      du = c->to_u[0] * px + c->to_u[1] * py + c->to_u[2] - cloud->u;
      dv = c->to_v[0] * px + c->to_v[1] * py + c->to_v[2] - cloud->v;
      a = (du * cloud->turn_cos + dv * cloud->turn_sin) / cloud->ru;
      b = (dv * cloud->turn_cos - du * cloud->turn_sin) / cloud->rv;
      soft = a * a + b * b;
      if (soft >= 1) continue;
      soft = pn_hump2(soft) * (1 + 0.9f * cloud->patchy * k->texture[at]);
      k->bright[at] += cloud->strength * k->lung[at] * fmaxf(0, soft);
    }
}

/* Haze along the chest wall, low down: fluid, no opacity in the sense of the labels. */
static void draw_haze(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  float s = pn_rng_below(rng, 2) ? 1.0f : -1.0f, gain = range(rng, 0.05, 0.16);
  float u = s * (c->lateral[s > 0][pn_chest_row(0.9f)] + 0.03f), rise = range(rng, 0.12, 0.5);
  pn_stroke haze = {
      {u, u, u - s * 0.1f}, {1.08f - rise, 1.0f, 1.12f}, 0.08f, 0.24f, 0.6f * gain, gain, true};
  pn_canvas_stroke(k, c, &haze);
}

static void draw_pacemaker(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  float u = range(rng, 0.48, 0.62), v = range(rng, 0.14, 0.24);
  pn_stroke can = {{u - 0.03f, u, u + 0.03f}, {v, v, v}, 0.07f, 0.07f, 0.5f, 0.5f, false};
  pn_stroke lead = {
      {u - 0.05f, 0.08f, 0.10f}, {v - 0.03f, -0.02f, 0.55f}, 0.007f, 0.007f, 0.22f, 0.22f, false};
  pn_stroke tip = {{0.10f, 0.08f, c->heart_u + 0.12f},
                   {0.55f, 0.9f, c->heart_v + 0.12f},
                   0.007f,
                   0.007f,
                   0.22f,
                   0.22f,
                   false};
  pn_canvas_stroke(k, c, &can);
  pn_canvas_stroke(k, c, &lead);
  pn_canvas_stroke(k, c, &tip);
}

static void draw_tubes(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  float s = pn_rng_below(rng, 2) ? 1.0f : -1.0f, m = c->midline;
  pn_stroke airway = {{m, m + 0.01f, m + 0.015f},
                      {-0.5f, -0.1f, range(rng, 0.15, 0.3)},
                      0.014f,
                      0.014f,
                      0.09f,
                      0.09f,
                      false};
  pn_stroke line = {{s * range(rng, 0.6, 0.9), s * 0.35f, s * 0.05f + m},
                    {range(rng, -0.15, 0.1), -0.02f, range(rng, 0.35, 0.6)},
                    0.006f,
                    0.006f,
                    0.12f,
                    0.12f,
                    false};
  pn_canvas_stroke(k, c, &airway);
  pn_canvas_stroke(k, c, &line);
}

static void draw_leads(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  for (int n = 0; n < 4; n++) {
    float s = n & 1 ? 1.0f : -1.0f;
    float u = s * range(rng, 0.45, 0.8), v = n < 2 ? range(rng, 0.0, 0.2) : range(rng, 0.7, 1.05);
    pn_stroke wire = {{u, s * range(rng, 0.2, 0.9), s * range(rng, 0.3, 1.2)},
                      {v, v - 0.2f, range(rng, -0.4, -0.2)},
                      0.004f,
                      0.004f,
                      0.07f,
                      0.07f,
                      false};
    pn_canvas_disc(k, c, &(pn_disc){u, v, 0.009f, 0.22f, 0.3f});
    pn_canvas_stroke(k, c, &wire);
  }
}

static void draw_nodules(const pn_chest *c, pn_canvas *k, pn_rng *rng) {
  for (int n = 0; n < c->findings.nodules; n++) {
    int side = (int)pn_rng_below(rng, 2);
    float v = range(rng, 0.15, 0.85), across = range(rng, 0.25, 0.85);
    int row = pn_chest_row(v);
    float u = c->medial[side][row] + across * (c->lateral[side][row] - c->medial[side][row]);
    pn_canvas_disc(
        k, c, &(pn_disc){side ? u : -u, v, range(rng, 0.008, 0.02), range(rng, 0.06, 0.2), 0.5f});
  }
}

/* What lies on top of the anatomy; markers last. */
static void draw_extras(const pn_chest *c, pn_canvas *k, pn_rng findings, pn_rng lines) {
  if (c->bubble > 0)
    pn_canvas_disc(k, c,
                   &(pn_disc){0.45f, c->dome[pn_chest_col(0.45f)] + 0.1f, c->bubble, -0.16f, 0.4f});
  if (c->findings.haze) draw_haze(c, k, &findings);
  if (c->findings.nodules) draw_nodules(c, k, &findings);
  if (c->findings.pacemaker) draw_pacemaker(c, k, &findings);
  if (c->findings.tubes) draw_tubes(c, k, &lines);
  if (c->findings.leads) draw_leads(c, k, &lines);
  pn_canvas_letter(k, 'L', range(&lines, 0.90, 0.95), range(&lines, 0.03, 0.25), 0.045f, 0.7f);
  if (c->ap && pn_rng_below(&lines, 2)) {
    float x = range(&lines, 0.03, 0.08), y = range(&lines, 0.03, 0.1);
    pn_canvas_letter(k, 'A', x, y, 0.026f, 0.7f);
    pn_canvas_letter(k, 'P', x + 0.026f, y, 0.026f, 0.7f);
  }
}

/* Film response: brightness in 1/LEVELS -> grey. */
enum { LEVELS = 1024 };
static void make_tone(const pn_chest *c, float tone[LEVELS + 1]) {
  for (int i = 0; i <= LEVELS; i++) {
    float b = ((float)i / LEVELS * 1.1f - c->black) * c->gain;
    tone[i] = 250 * powf(fminf(1, fmaxf(0, b)), c->gamma) + 2;
  }
}

static float tone_of(const float tone[LEVELS + 1], float bright) {
  float k = bright * (LEVELS / 1.1f);
  return tone[k <= 0 ? 0 : k >= LEVELS ? LEVELS : (int)k];
}

/* Cheap hashed noise, about -1..1, triangular; the same for the same (key, x). */
static inline float grain(uint32_t key, uint32_t x) {
  uint32_t h = (x + key) * 0x9E3779B1u;
  h ^= h >> 15;
  h *= 0x85EBCA6Bu;
  h ^= h >> 13;
  return (float)((int)(h & 0xffff) - (int)(h >> 16)) * (1.0f / 65536);
}

/* Row y of the image: linear interpolation between canvas pixels, grain, rounding. */
static void develop_row(const float *above, const float *below, float grain_gain, uint32_t key,
                        uint8_t *out) {
  float mixed[SIDE + 1];

  for (int x = 0; x < SIDE; x++) mixed[x] = 0.75f * above[x] + 0.25f * below[x];
  mixed[SIDE] = mixed[SIDE - 1];
  for (int x = 0; x < SIDE; x++) {
    float here = mixed[x], left = x ? mixed[x - 1] : here;
    float a = 0.75f * here + 0.25f * left, b = 0.75f * here + 0.25f * mixed[x + 1];
    a += grain_gain * grain(key, 2 * (uint32_t)x) + 0.5f;
    b += grain_gain * grain(key, 2 * (uint32_t)x + 1) + 0.5f;
    out[2 * x] = (uint8_t)(a < 0 ? 0 : a > 255 ? 255 : a);
    out[2 * x + 1] = (uint8_t)(b < 0 ? 0 : b > 255 ? 255 : b);
  }
}

static void develop(const pn_chest *c, pn_canvas *k, pn_rng rng, uint8_t *pixels) {
  float tone[LEVELS + 1];

  make_tone(c, tone);
  for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) k->bright[i] = tone_of(tone, k->bright[i]);
  for (int y = 0; y < FULL; y++) {
    int near = y / 2, far = y % 2 ? near + 1 : near - 1;
    far = far < 0 ? 0 : far >= SIDE ? SIDE - 1 : far;
    develop_row(k->bright + (size_t)near * SIDE, k->bright + (size_t)far * SIDE, c->grain * 1.8f,
                pn_rng_u32(&rng), pixels + (size_t)y * FULL);
  }
}

static pn_rng stream(const pn_synth_config *cfg, int64_t i, pn_synth_part part) {
  return pn_rng_make(cfg->seed, PN_RNG_SYNTH, (uint64_t)i, (uint32_t)part);
}

pn_status pn_synth_draw(const pn_synth_config *cfg, int64_t i, uint8_t *pixels) {
  pn_status st = PN_OK;
  pn_chest *chest = malloc(sizeof *chest);
  pn_canvas canvas = {0};
  pn_synth_case info;
  pn_rng texture = stream(cfg, i, PN_PART_TEXTURE);

  if (!chest) return PN_FAIL(PN_ERR_NOMEM, "image %lld: out of memory", (long long)i);
  PN_TRY(pn_synth_describe(cfg, i, &info)); /* checks the arguments */
  PN_TRY(pn_canvas_create(&canvas));
  pn_chest_make(cfg, i, &info, chest);
  pn_canvas_noise(canvas.texture, texture, 8, 4);
  draw_body(chest, &canvas);
  draw_bones(chest, &canvas, &texture);
  draw_vessels(chest, &canvas, stream(cfg, i, PN_PART_VESSELS));
  for (int n = 0; n < chest->n_clouds; n++) draw_cloud(chest, &canvas, &chest->cloud[n]);
  draw_extras(chest, &canvas, stream(cfg, i, PN_PART_PLACES), stream(cfg, i, PN_PART_LINES));
  develop(chest, &canvas, stream(cfg, i, PN_PART_GRAIN), pixels);
done:
  pn_canvas_free(&canvas);
  free(chest);
  return st;
}
