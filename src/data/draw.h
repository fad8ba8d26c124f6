/* draw.h -- a small RGB canvas for preview.png: rectangles, text, pictures.  Nothing of the machine
 * goes in, so the same calls give the same bytes. */
#ifndef PN_DATA_DRAW_H
#define PN_DATA_DRAW_H

#include "base/status.h"

#include <stdint.h>

enum { PN_FONT_CHARS = 95, PN_FONT_WIDTH = 7, PN_FONT_HEIGHT = 13 };
extern const uint8_t pn_paper_font[2][PN_FONT_CHARS][PN_FONT_HEIGHT]; /* [bold][character - 32] */

typedef struct {
  int width, height;
  uint8_t *rgb; /* [height][width][3]; owned */
} pn_paper;

typedef struct {
  int x, y, width, height;
} pn_area;

/* Colours are 0xRRGGBB.  What lies outside the canvas is cut off. */
pn_status pn_paper_create(int width, int height, pn_paper *out); /* white */
void pn_paper_free(pn_paper *c);
void pn_paper_fill(pn_paper *c, pn_area a, uint32_t colour);
void pn_paper_frame(pn_paper *c, pn_area a, uint32_t colour); /* one pixel wide, inside a */
/* scale 1 or 2; not ASCII: '?' */
void pn_paper_text(pn_paper *c, int x, int y, const char *text, bool bold, int scale,
                   uint32_t colour);
/* planes: 1 or 3 planes of height x width bytes */
void pn_paper_picture(pn_paper *c, pn_area a, const uint8_t *planes, int channels);

enum { PN_CHART_SERIES = 4 }; /* most */
typedef struct {
  const char *title;
  int n, n_series;         /* bars; values stacked in a bar */
  const char (*label)[16]; /* [n] */
  const int64_t (*value)[PN_CHART_SERIES];
  const char *const *series; /* [n_series] names; NULL = no legend */
  bool numbers;              /* write the sum above each bar */
} pn_chart;
void pn_paper_chart(pn_paper *c, pn_area a, const pn_chart *chart);

/* Errors: IO, NOMEM. */
pn_status pn_paper_save(const pn_paper *c, const char *path);

#endif
