/* draw.c -- the canvas: rectangles, text, pictures. */
#include "data/draw.h"

#include "data/png_write.h"

#include <stdlib.h>
#include <string.h>

pn_status pn_paper_create(int width, int height, pn_paper *out) {
  size_t bytes = (size_t)width * (size_t)height * 3;

  *out = (pn_paper){.width = width, .height = height, .rgb = malloc(bytes)};
  if (!out->rgb) return PN_FAIL(PN_ERR_NOMEM, "picture of %d x %d: out of memory", width, height);
  memset(out->rgb, 255, bytes);
  return PN_OK;
}

void pn_paper_free(pn_paper *c) {
  free(c->rgb);
  *c = (pn_paper){0};
}

static void put(pn_paper *c, int x, int y, uint32_t colour) {
  uint8_t *to;

  if (x < 0 || y < 0 || x >= c->width || y >= c->height) return;
  to = c->rgb + ((size_t)y * (size_t)c->width + (size_t)x) * 3;
  to[0] = (uint8_t)(colour >> 16);
  to[1] = (uint8_t)(colour >> 8);
  to[2] = (uint8_t)colour;
}

void pn_paper_fill(pn_paper *c, pn_area a, uint32_t colour) {
  for (int y = a.y; y < a.y + a.height; y++)
    for (int x = a.x; x < a.x + a.width; x++) put(c, x, y, colour);
}

void pn_paper_frame(pn_paper *c, pn_area a, uint32_t colour) {
  pn_paper_fill(c, (pn_area){a.x, a.y, a.width, 1}, colour);
  pn_paper_fill(c, (pn_area){a.x, a.y + a.height - 1, a.width, 1}, colour);
  pn_paper_fill(c, (pn_area){a.x, a.y, 1, a.height}, colour);
  pn_paper_fill(c, (pn_area){a.x + a.width - 1, a.y, 1, a.height}, colour);
}

void pn_paper_text(pn_paper *c, int x, int y, const char *text, bool bold, int scale,
                   uint32_t colour) {
  for (; *text; text++, x += PN_FONT_WIDTH * scale) {
    unsigned char ch = (unsigned char)*text;
    const uint8_t *glyph = pn_paper_font[bold][(ch < 32 || ch > 126 ? '?' : ch) - 32];
    for (int r = 0; r < PN_FONT_HEIGHT; r++)
      for (int b = 0; b < 8; b++)
        if (glyph[r] >> (7 - b) & 1)
          pn_paper_fill(c, (pn_area){x + b * scale, y + r * scale, scale, scale}, colour);
  }
}

void pn_paper_picture(pn_paper *c, pn_area a, const uint8_t *planes, int channels) {
  size_t plane = (size_t)a.width * (size_t)a.height;

  for (int y = 0; y < a.height; y++)
    for (int x = 0; x < a.width; x++) {
      const uint8_t *p = planes + (size_t)y * (size_t)a.width + (size_t)x;
      uint32_t r = p[0], g = channels == 3 ? p[plane] : r, b = channels == 3 ? p[2 * plane] : r;
      put(c, a.x + x, a.y + y, r << 16 | g << 8 | b);
    }
}

pn_status pn_paper_save(const pn_paper *c, const char *path) {
  return pn_png_write(path, c->height, c->width, 3, c->rgb);
}
