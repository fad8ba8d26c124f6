/* draw_chart.c -- bars, stacked, with their labels. */
#include "data/draw.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { INK = 0x333333, FAINT = 0xdddddd, TITLE_HEIGHT = 22, LABEL_HEIGHT = 18, PAD = 10 };
static const uint32_t colours[4] = {0x1b6ca8, 0xe08e2b, 0x5b9a68, 0x999999};

static int64_t total_of(const pn_chart *chart, int i) {
  int64_t sum = 0;
  for (int s = 0; s < chart->n_series; s++) sum += chart->value[i][s];
  return sum;
}

static void short_number(int64_t n, char out[16]) {
  if (n < 10000)
    snprintf(out, 16, "%d", (int)n);
  else if (n < 10000000)
    snprintf(out, 16, "%dk", (int)(n / 1000));
  else
    snprintf(out, 16, "%dM", (int)(n / 1000000 % 1000000));
}

static void centred(pn_paper *c, int middle, int y, const char *text, int room) {
  char cut[16];
  int n = (int)strlen(text), most = room / PN_FONT_WIDTH;

  if (most < 1) return;
  if (n > most) n = most;
  snprintf(cut, sizeof cut, "%.*s", n, text);
  pn_paper_text(c, middle - (int)strlen(cut) * PN_FONT_WIDTH / 2, y, cut, false, 1, INK);
}

static void draw_legend(pn_paper *c, pn_area a, const pn_chart *chart) {
  int x = a.x + a.width;

  for (int s = chart->n_series - 1; chart->series && s >= 0; s--) {
    x -= (int)strlen(chart->series[s]) * PN_FONT_WIDTH + 8;
    pn_paper_text(c, x, a.y, chart->series[s], false, 1, INK);
    x -= 14;
    pn_paper_fill(c, (pn_area){x, a.y + 2, 10, 10}, colours[s]);
  }
}

static void draw_bar(pn_paper *c, const pn_chart *chart, int i, pn_area slot, int64_t most) {
  int bar = slot.width * 7 / 10 > 0 ? slot.width * 7 / 10 : 1, y = slot.y + slot.height;
  int x = slot.x + (slot.width - bar) / 2;
  int64_t before = 0;
  char number[16];

  for (int s = 0; s < chart->n_series; s++) {
    int from = (int)(before * slot.height / most), to;
    before += chart->value[i][s];
    to = (int)(before * slot.height / most);
    if (chart->value[i][s] > 0 && to == from) to = from + 1; /* something is seen of it */
    pn_paper_fill(c, (pn_area){x, y - to, bar, to - from}, colours[s]);
  }
  short_number(before, number);
  if (chart->numbers && before > 0)
    centred(c, slot.x + slot.width / 2, y - (int)(before * slot.height / most) - PN_FONT_HEIGHT - 1,
            number, slot.width);
}

/* Some label is wider than its bar's slot: labels stand in two lines by turns. */
static bool needs_two_lines(const pn_chart *chart, int width) {
  bool needs = false;
  for (int i = 0; i < chart->n; i++)
    needs |= (int)strlen(chart->label[i]) * PN_FONT_WIDTH > width / chart->n;
  return needs && chart->n > 1;
}

static int clamp(int x, int low, int high) {
  return x < low ? low : x > high ? high : x;
}

/* Labels in two lines have twice the room; the outer ones keep off the frame. */
static void draw_label(pn_paper *c, const pn_chart *chart, int i, pn_area plot, bool two_lines) {
  int slot = plot.width / chart->n, room = two_lines ? 2 * slot : slot;
  int middle = plot.x + (2 * i + 1) * plot.width / (2 * chart->n);
  int half = (int)strlen(chart->label[i]) * PN_FONT_WIDTH / 2, edge = PAD - 4;

  if (half > room / 2) half = room / 2;
  middle = clamp(middle, plot.x - edge + half, plot.x + plot.width + edge - half);
  centred(c, middle, plot.y + plot.height + 4 + (two_lines && i % 2 ? PN_FONT_HEIGHT : 0),
          chart->label[i], room);
}

void pn_paper_chart(pn_paper *c, pn_area a, const pn_chart *chart) {
  pn_area plot = {a.x + PAD, a.y + TITLE_HEIGHT + PN_FONT_HEIGHT + PAD, a.width - 2 * PAD, 0};
  bool two_lines = needs_two_lines(chart, plot.width);
  int64_t most = 1;

  plot.height = a.y + a.height - LABEL_HEIGHT - (two_lines ? PN_FONT_HEIGHT : 0) - plot.y;
  pn_paper_frame(c, a, FAINT);
  pn_paper_text(c, a.x + PAD, a.y + 6, chart->title, true, 1, INK);
  draw_legend(c, (pn_area){a.x, a.y + 6, a.width - 2, 0}, chart);
  for (int i = 0; i < chart->n; i++)
    if (total_of(chart, i) > most) most = total_of(chart, i);
  for (int i = 0; i < chart->n; i++) {
    int from = plot.x + plot.width * i / chart->n, to = plot.x + plot.width * (i + 1) / chart->n;
    pn_area slot = {from, plot.y, to - from, plot.height};
    draw_bar(c, chart, i, slot, most);
    draw_label(c, chart, i, plot, two_lines);
  }
  pn_paper_fill(c, (pn_area){plot.x, plot.y + plot.height, plot.width, 1}, INK);
}
