/* synth_chest.c -- anatomy and pose of one phantom, from its random streams. */
#include "data/synth_chest.h"

#include <math.h>
#include <string.h>

static const float TABLE_V0 = -0.6f, TABLE_V1 = 1.6f, TABLE_U0 = -1.6f, TABLE_U1 = 1.6f;

static int table_index(float x, float lo, float hi) {
  float k = (x - lo) / (hi - lo) * (float)(PN_CHEST_TABLE - 1) + 0.5f;
  return k <= 0 ? 0 : k >= (float)(PN_CHEST_TABLE - 1) ? PN_CHEST_TABLE - 1 : (int)k;
}

int pn_chest_row(float v) {
  return table_index(v, TABLE_V0, TABLE_V1);
}

int pn_chest_col(float u) {
  return table_index(u, TABLE_U0, TABLE_U1);
}

float pn_chest_row_v(int row) {
  return TABLE_V0 + (TABLE_V1 - TABLE_V0) * (float)row / (float)(PN_CHEST_TABLE - 1);
}

float pn_chest_col_u(int col) {
  return TABLE_U0 + (TABLE_U1 - TABLE_U0) * (float)col / (float)(PN_CHEST_TABLE - 1);
}

float pn_chest_heart(const pn_chest *c, float u, float v) {
  float y = (v - c->heart_v) / c->heart_rv;
  float x = (u - c->heart_u - c->midline - 0.09f * y) / c->heart_ru; /* the tip points outwards */
  float wide = y < 0 ? 1 + 0.45f * y : 1, r2;                        /* narrow above */

  x /= wide > 0.3f ? wide : 0.3f;
  r2 = x * x + y * y;
  return pn_smooth((1.2f - r2) * 2.2f);
}

float pn_chest_lung(const pn_chest *c, float u, float v) {
  int row = pn_chest_row(v), col = pn_chest_col(u), side = u > c->midline;
  float a = fabsf(u), inv = 1 / c->soft;
  float x = fminf((a - c->medial[side][row]) * inv, (c->lateral[side][row] - a) * inv);
  float y = fminf((v - c->top[col]) * inv, (c->dome[col] - v) * inv);
  float mask = pn_smooth(x + 0.5f) * pn_smooth(y + 0.5f);
  return mask > 0 ? mask * (1 - 0.88f * pn_chest_heart(c, u, v)) : 0;
}

static float range(pn_rng *r, double lo, double hi) {
  return (float)pn_rng_range(r, lo, hi);
}

static bool chance(pn_rng *r, double p) {
  return pn_rng_range(r, 0, 1) < p;
}

static void make_id(uint64_t seed, int64_t i, char id[PN_SYNTH_ID_BYTES]) {
  static const char hex[] = "0123456789abcdef";
  pn_rng rng = pn_rng_make(seed, PN_RNG_SYNTH, (uint64_t)i, PN_PART_ID);
  char *p = id;

  for (int k = 0; k < 32; k++) {
    uint32_t x = pn_rng_u32(&rng) >> 28;
    if (k == 8 || k == 12 || k == 16 || k == 20) *p++ = '-';
    if (k == 12) x = 4;            /* version: random */
    if (k == 16) x = (x & 3u) | 8; /* variant: RFC 4122 */
    *p++ = hex[x];
  }
  *p = '\0';
}

/* Positives are spread evenly over the indices: their number among the first n is round(p n). */
static int64_t share_before(double p, int64_t n) {
  return (int64_t)floor(p * (double)n + 0.5);
}

static pn_synth_class class_of(const pn_synth_config *cfg, int64_t i) {
  int64_t before = share_before(cfg->positives, i), negative = i - before;

  if (share_before(cfg->positives, i + 1) > before) return PN_SYNTH_OPACITY;
  return share_before(cfg->normals, negative + 1) > share_before(cfg->normals, negative)
             ? PN_SYNTH_NORMAL
             : PN_SYNTH_NOT_NORMAL;
}

static void make_case(const pn_synth_config *cfg, int64_t i, pn_synth_case *info) {
  pn_rng rng = pn_rng_make(cfg->seed, PN_RNG_SYNTH, (uint64_t)i, PN_PART_CASE);
  static const double spacings[] = {0.139, 0.143, 0.168, 0.171, 0.19431099999999998};

  memset(info, 0, sizeof *info);
  make_id(cfg->seed, i, info->id);
  info->cls = class_of(cfg, i);
  info->age = 18 + (int)pn_rng_below(&rng, 73);
  info->sex = chance(&rng, 0.43) ? 'F' : 'M';
  /* bed-side films are of sicker patients */
  info->ap = chance(&rng, info->cls == PN_SYNTH_OPACITY ? 0.55 : 0.45);
  info->spacing_mm = spacings[pn_rng_below(&rng, sizeof spacings / sizeof *spacings)];
}

static void invert(const float u[3], const float v[3], float x[3], float y[3]) {
  float d = 1 / (u[0] * v[1] - u[1] * v[0]);

  x[0] = v[1] * d;
  x[1] = -u[1] * d;
  x[2] = (u[1] * v[2] - v[1] * u[2]) * d;
  y[0] = -v[0] * d;
  y[1] = u[0] * d;
  y[2] = (v[0] * u[2] - u[0] * v[2]) * d;
}

/* Patient frame -> image: scale, turn, shift.  Bed-side films show less lung and more slant. */
static void make_pose(pn_chest *c, pn_rng rng) {
  float turn = (float)(pn_rng_normal(&rng) * (c->ap ? 0.035 : 0.02));
  float width = range(&rng, 0.44, 0.47), height = range(&rng, 0.60, 0.66);
  float cx = 0.5f + range(&rng, -0.015, 0.015), cy = range(&rng, 0.12, 0.16);

  if (c->ap) {
    height *= range(&rng, 0.86, 0.94);
    cy += range(&rng, 0, 0.04);
  }
  turn = fmaxf(-0.14f, fminf(0.14f, turn));
  c->to_x[0] = width * cosf(turn);
  c->to_x[1] = -height * sinf(turn);
  c->to_x[2] = cx;
  c->to_y[0] = width * sinf(turn);
  c->to_y[1] = height * cosf(turn);
  c->to_y[2] = cy;
  invert(c->to_x, c->to_y, c->to_u, c->to_v);
}

/* Tables over v: outline of the torso, lung edges, vertebrae. */
static void make_rows(pn_chest *c, pn_rng *rng) {
  float wall = range(rng, 0.94, 1.10), neck = range(rng, 0.24, 0.34);
  float lung = range(rng, 0.80, 0.88), apex = range(rng, 0.56, 0.66),
        tilt = range(rng, -0.03, 0.03);
  float hilum = range(rng, 0.02, 0.06), knob = range(rng, 0.02, 0.07), phase = range(rng, 0, 1);
  float atrium = range(rng, 0.03, 0.08), inner = range(rng, 0.10, 0.13);

  for (int row = 0; row < PN_CHEST_TABLE; row++) {
    float v = pn_chest_row_v(row), t = fmaxf(0, 1 - fmaxf(v, 0) / 0.8f);
    float edge = lung * (1 - apex * powf(t, 2.4f)), k = v * 11.5f + phase;
    float shoulder = pn_smooth((v + 0.22f) / 0.34f);

    c->body[row] = neck + (1.14f - neck) * shoulder - (1.14f - wall) * pn_smooth((v - 0.1f) / 0.4f);
    c->lateral[0][row] = edge + tilt;
    c->lateral[1][row] = edge - tilt;
    c->medial[0][row] = inner - c->midline + hilum * pn_hump((v - 0.42f) / 0.22f) +
                        atrium * pn_hump((v - 0.8f) / 0.35f);
    c->medial[1][row] = inner + c->midline + knob * pn_hump((v - 0.24f) / 0.11f) +
                        hilum * pn_hump((v - 0.40f) / 0.2f);
    k -= floorf(k);
    c->spine[row] = 0.055f + 0.03f * pn_hump((k - 0.5f) * 2.2f);
  }
}

/* Tables over u: lung apex, diaphragm, courses of the ribs. */
static void make_columns(pn_chest *c, pn_rng *rng) {
  float left = range(rng, -0.03, 0.07), bow = range(rng, 0.7, 1.3), side = range(rng, 0.8, 1.3);
  float droop = range(rng, 0.22, 0.42), rise = range(rng, 0.30, 0.55);

  for (int col = 0; col < PN_CHEST_TABLE; col++) {
    float u = pn_chest_col_u(col), a = fabsf(u), out = fmaxf(0, a - 0.42f),
          in = fmaxf(0, 0.42f - a);

    c->top[col] = 2.2f * (a - 0.27f) * (a - 0.27f);
    if (a > 0.27f) c->top[col] *= 0.5f;
    c->dome[col] = 1 + side * out * out + 0.35f * bow * in * in + (u > 0 ? left : 0);
    /* posterior: out of the spine, up a little, then down along the chest wall */
    c->back[col] = -0.10f * pn_hump((a - 0.32f) / 0.34f) + droop * a * a;
    /* anterior: the other way, steeper */
    c->front[col] = -rise * a + 0.15f * a * a;
  }
}

static void make_anatomy(pn_chest *c, const pn_synth_case *info, pn_rng rng) {
  double heart = c->ap ? 1.12 : 1.0;

  c->midline = (float)(pn_rng_normal(&rng) * 0.015);
  make_rows(c, &rng);
  make_columns(c, &rng);
  for (int k = 0; k < PN_CHEST_RIBS; k++) c->rib_gain[k] = range(&rng, 0.75, 1.2);
  c->rib_spacing = range(&rng, 0.098, 0.118);
  c->rib_width = range(&rng, 0.26, 0.34);
  c->rib_strength = range(&rng, 0.045, 0.085);
  c->lung_depth = range(&rng, 0.33, 0.40);
  c->soft = range(&rng, 0.028, 0.05);
  if (c->findings.big_heart) heart *= pn_rng_range(&rng, 1.22, 1.45);
  c->heart_ru = (float)heart * range(&rng, 0.27, 0.34);
  c->heart_rv = range(&rng, 0.27, 0.33);
  c->heart_u = range(&rng, 0.12, 0.19);
  c->heart_v = range(&rng, 0.80, 0.87);
  c->breast = info->sex == 'F' ? range(&rng, 0.02, 0.08) : range(&rng, 0, 0.02);
  c->bubble = chance(&rng, 0.5) ? range(&rng, 0.02, 0.06) : 0;
}

static void make_findings(pn_chest *c, const pn_synth_case *info, pn_rng rng) {
  pn_findings *f = &c->findings;
  bool sick = info->cls == PN_SYNTH_NOT_NORMAL, any = info->cls != PN_SYNTH_NORMAL;

  f->big_heart = chance(&rng, sick ? 0.4 : any ? 0.25 : 0);
  f->pacemaker = chance(&rng, sick ? 0.2 : any ? 0.08 : 0);
  f->haze = chance(&rng, sick ? 0.45 : any ? 0.25 : 0);
  f->streaks = chance(&rng, sick ? 0.35 : any ? 0.25 : 0);
  f->tubes = chance(&rng, c->ap ? (any ? 0.4 : 0.1) : 0.03);
  f->leads = chance(&rng, c->ap ? 0.6 : 0.08);
  if (chance(&rng, sick ? 0.4 : 0.06)) f->nodules = 1 + (int)pn_rng_below(&rng, 3);
  if (sick && !f->big_heart && !f->pacemaker && !f->haze && !f->nodules) f->streaks = true;
}

static void make_exposure(pn_chest *c, pn_rng rng) {
  c->black = range(&rng, -0.02, 0.03);
  c->gain = range(&rng, 0.90, 1.04);
  c->gamma = range(&rng, 0.95, 1.15);
  c->grain = range(&rng, 1.2, 4.0);
}

/* A place in a lung, in lung coordinates: more often low than high. */
static void place_cloud(const pn_chest *c, pn_cloud *k, int side, pn_rng *rng) {
  float across = range(rng, 0.18, 0.82), down = 1 - range(rng, 0.12, 0.9) * range(rng, 0.3, 1);
  float mid, outer, sign = side ? 1.0f : -1.0f;
  int row = pn_chest_row(down);

  mid = c->medial[side][row] + (side ? fmaxf(0, down - 0.55f) * 0.5f : 0); /* beside the heart */
  outer = c->lateral[side][row];
  k->u = sign * (mid + (outer - mid) * across);
  k->v = down;
  k->ru = range(rng, 0.28, 0.50);
  k->rv = range(rng, 0.24, 0.46);
}

/* Box around what can be seen of a cloud; returns the share of the ellipse that lies in a lung. */
static float fit_box(const pn_chest *c, const pn_cloud *k, pn_synth_box *box) {
  enum { STEPS = 32 };
  float x0 = 1, x1 = 0, y0 = 1, y1 = 0, side = PN_SYNTH_SIDE;
  int inside = 0, all = 0;

  for (int n = 0; n < STEPS * STEPS; n++) {
    float a = 2 * (0.5f + (float)(n % STEPS)) / STEPS - 1;
    float b = 2 * (0.5f + (float)(n / STEPS)) / STEPS - 1, u, v, x, y;
    if (pn_hump2(a * a + b * b) < 0.2f) continue; /* too faint to be drawn around */
    u = k->u + k->ru * (a * k->turn_cos - b * k->turn_sin);
    v = k->v + k->rv * (a * k->turn_sin + b * k->turn_cos);
    x = c->to_x[0] * u + c->to_x[1] * v + c->to_x[2];
    y = c->to_y[0] * u + c->to_y[1] * v + c->to_y[2];
    all++;
    if (pn_chest_lung(c, u, v) < 0.3f || x < 0.01f || x > 0.99f || y < 0.01f || y > 0.99f) continue;
    inside++;
    x0 = fminf(x0, x), x1 = fmaxf(x1, x), y0 = fminf(y0, y), y1 = fmaxf(y1, y);
  }
  *box = (pn_synth_box){roundf(x0 * side), roundf(y0 * side), roundf((x1 - x0) * side),
                        roundf((y1 - y0) * side)};
  return all ? (float)inside / (float)all : 0;
}

/* Try places until most of the cloud lies in the lung; the best of the tries counts. */
static void make_cloud(const pn_chest *c, int side, pn_rng *rng, pn_cloud *best,
                       pn_synth_box *box) {
  enum { TRIES = 12 };
  float best_share = -1;

  for (int n = 0; n < TRIES && best_share < 0.7f; n++) {
    float turn = range(rng, -0.8, 0.8), share;
    pn_cloud k = {.turn_cos = cosf(turn), .turn_sin = sinf(turn)};
    pn_synth_box b;

    place_cloud(c, &k, side, rng);
    share = fit_box(c, &k, &b);
    if (share <= best_share) continue;
    best_share = share;
    *best = k;
    *box = b;
  }
}

static void make_clouds(const pn_synth_config *cfg, pn_chest *c, pn_synth_case *info, pn_rng rng) {
  double dice = pn_rng_range(&rng, 0, 1);
  int n = info->cls != PN_SYNTH_OPACITY ? 0 : dice < 0.45 ? 1 : dice < 0.9 ? 2 : 3;
  int first = (int)pn_rng_below(&rng, 2);
  float strength = (float)cfg->contrast * range(&rng, 0.18, 0.36);

  for (int k = 0; k < n; k++) {
    /* the second is in the other lung, as a rule */
    make_cloud(c, (first + k) % 2, &rng, &c->cloud[k], &info->box[k]);
    c->cloud[k].strength = strength * range(&rng, 0.8, 1.2);
    c->cloud[k].patchy = range(&rng, 0.3, 1.0);
  }
  c->n_clouds = info->n_boxes = n;
}

void pn_chest_make(const pn_synth_config *cfg, int64_t i, pn_synth_case *info, pn_chest *chest) {
  uint64_t k = (uint64_t)i, seed = cfg->seed;

  memset(chest, 0, sizeof *chest);
  make_case(cfg, i, info);
  chest->ap = info->ap;
  make_findings(chest, info, pn_rng_make(seed, PN_RNG_SYNTH, k, PN_PART_FINDINGS));
  make_pose(chest, pn_rng_make(seed, PN_RNG_SYNTH, k, PN_PART_POSE));
  make_anatomy(chest, info, pn_rng_make(seed, PN_RNG_SYNTH, k, PN_PART_ANATOMY));
  make_exposure(chest, pn_rng_make(seed, PN_RNG_SYNTH, k, PN_PART_EXPOSURE));
  make_clouds(cfg, chest, info, pn_rng_make(seed, PN_RNG_SYNTH, k, PN_PART_CLOUDS));
}
