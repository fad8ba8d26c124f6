/* synth_chest.h -- inside of the phantoms: one drawn chest as numbers, and the canvas it is drawn
 * on.  For synth_*.c only.
 *
 * Patient frame: u to the right of the image, 0 = midline, about +-0.85 = outer lung edge;
 * v downwards, 0 = lung apex, 1 = top of the diaphragm.  Side 0 is the image's left (the patient's
 * right), side 1 the image's right, where the heart lies.  Image frame: x, y in 0..1. */
#ifndef PN_DATA_SYNTH_CHEST_H
#define PN_DATA_SYNTH_CHEST_H

#include "base/rng.h"
#include "data/synth.h"

enum { PN_CHEST_TABLE = 512, PN_CHEST_RIBS = 16, PN_CANVAS_SIDE = PN_SYNTH_SIDE / 2 };

/* The independent streams of one image. */
typedef enum {
  PN_PART_CASE,
  PN_PART_ID,
  PN_PART_POSE,
  PN_PART_ANATOMY,
  PN_PART_CLOUDS,
  PN_PART_FINDINGS,
  PN_PART_LINES,
  PN_PART_VESSELS,
  PN_PART_TEXTURE,
  PN_PART_EXPOSURE,
  PN_PART_GRAIN,
  PN_PART_PLACES, /* where the findings are */
  PN_PART_UID
} pn_synth_part;

/* An opacity: an ellipse in the patient frame, cut by the lung. */
typedef struct {
  float u, v, ru, rv, turn_cos, turn_sin;
  float strength; /* added brightness at the centre */
  float patchy;   /* 0..1: how much the texture breaks it up */
} pn_cloud;

/* Findings of class No Lung Opacity / Not Normal; some occur in the other classes, too. */
typedef struct {
  bool big_heart, pacemaker, haze, tubes, leads, streaks;
  int nodules;
} pn_findings;

typedef struct {
  float to_u[3], to_v[3], to_x[3], to_y[3]; /* affine: a x + b y + c */
  float body[PN_CHEST_TABLE];               /* half width of the torso, over v */
  float lateral[2][PN_CHEST_TABLE];         /* |u| of the outer lung edge, over v */
  float medial[2][PN_CHEST_TABLE];          /* |u| of the inner lung edge, over v */
  float spine[PN_CHEST_TABLE];              /* brightness of vertebrae, over v */
  float top[PN_CHEST_TABLE];                /* v of the lung apex, over u */
  float dome[PN_CHEST_TABLE];               /* v of the diaphragm, over u */
  float back[PN_CHEST_TABLE];               /* course of posterior ribs, over u */
  float front[PN_CHEST_TABLE];              /* course of anterior ribs, over u */
  float rib_gain[PN_CHEST_RIBS];
  float rib_spacing, rib_width, rib_strength;
  float midline; /* u of spine and mediastinum: a turned patient */
  float lung_depth, soft;
  float heart_u, heart_v, heart_ru, heart_rv;
  float breast; /* strength of the breast shadows, 0 = none */
  float bubble; /* radius of the gas bubble under the dome of side 1, 0 = none */
  float black, gain, gamma, grain;
  bool ap;
  pn_findings findings;
  int n_clouds;
  pn_cloud cloud[PN_SYNTH_MAX_BOXES];
} pn_chest;

/* Everything of image i; cfg is already checked. */
void pn_chest_make(const pn_synth_config *cfg, int64_t i, pn_synth_case *info, pn_chest *chest);

/* Index of v (u) in the tables over v (u); always valid. */
int pn_chest_row(float v);
int pn_chest_col(float u);
float pn_chest_row_v(int row);
float pn_chest_col_u(int col);

float pn_chest_heart(const pn_chest *c, float u, float v); /* 0 outside, 1 inside, soft edges */
/* 0 outside, 1 inside a lung, soft edges; little is left of it behind the heart. */
float pn_chest_lung(const pn_chest *c, float u, float v);

/* Smooth step from 0 at x <= 0 to 1 at x >= 1. */
static inline float pn_smooth(float x) {
  x = x < 0 ? 0 : x > 1 ? 1 : x;
  return x * x * (3 - 2 * x);
}

/* Smooth hump: 1 at x = 0, 0 for |x| >= 1. */
static inline float pn_hump(float x) {
  float k = 1 - x * x;
  return k > 0 ? k * k : 0;
}

/* Squared-off: as pn_hump of x^2, from r^2. */
static inline float pn_hump2(float r2) {
  float k = 1 - r2;
  return k > 0 ? k * k : 0;
}

/* Planes of PN_CANVAS_SIDE x PN_CANVAS_SIDE floats: half the resolution of the image. */
typedef struct {
  float *bright;  /* 0 = black air .. about 1 = dense tissue */
  float *lung;    /* pn_chest_lung of each pixel */
  float *texture; /* cloudy noise, about -1..1 */
  float *mark;    /* scratch of strokes; all 0 between calls */
} pn_canvas;

pn_status pn_canvas_create(pn_canvas *c);
void pn_canvas_free(pn_canvas *c);

/* Fill `plane` with cloudy noise: octaves from `cells` cells per side, each half as strong. */
void pn_canvas_noise(float *plane, pn_rng rng, int cells, int octaves);

/* A curve in the patient frame (quadratic Bezier) of soft width, in image units (1 = whole side).
 */
typedef struct {
  float u[3], v[3];
  float width0, width1; /* at its ends */
  float gain0, gain1;   /* brightness added at its ends */
  bool inside_lung;     /* fades with the lung mask */
} pn_stroke;
void pn_canvas_stroke(pn_canvas *c, const pn_chest *chest, const pn_stroke *s);

/* A soft disc. */
typedef struct {
  float u, v, radius, gain;
  float edge; /* 0..1: share of the radius over which it fades */
} pn_disc;
void pn_canvas_disc(pn_canvas *c, const pn_chest *chest, const pn_disc *d);

/* The image's straight lines of text, drawn as strokes: letters L, A, P at x, y, height h. */
void pn_canvas_letter(pn_canvas *c, char letter, float x, float y, float h, float gain);

#endif
