/* body_rows.h -- rows of channels dealt to blocks of threads, and sums over rows: those of a thread
 * in its registers, of a block by its join, of all blocks in `partial`. */
#ifndef PN_CUDA_BODY_ROWS_H
#define PN_CUDA_BODY_ROWS_H

#include "body.h"

/* A thread has loads of so many rows under way, and loads what belongs to the channels once. */
enum { CU_RUN = 4, CU_RUN_DIFFS = 2 };

typedef struct {
  uint32_t c, part, line; /* first channel; line: row within the block's `down` */
  bool inside;
} cu_seat;

CU_HD cu_seat cu_seat_of(const cu_norm *a, uint32_t block, uint32_t thread, int lanes) {
  uint32_t part = block / a->tiles, line = thread / a->across;
  uint32_t group = (block - part * a->tiles) * a->across + (thread - line * a->across);
  cu_seat s = {group * (uint32_t)lanes, part, line, false};
  s.inside = line < a->down && s.c < a->channels;
  return s;
}

CU_HD size_t cu_at_row(const cu_norm *a, uint32_t row, uint32_t c) {
  return (size_t)row * a->channels + c;
}

/* n rows of channels from c on, `step` apart. */
typedef struct {
  uint32_t c, row, step, n;
} cu_pick;

/* Of rows that are none: the last.  No branch
 * between the loads, so that all are under way at once.  NULL: zeros. */
CU_HD void cu_fetch_rows(const cu_norm *a, const void *from, const cu_pick *p, int lanes, int type,
                         cu_raw *raw) {
  for (uint32_t j = 0; j < p->n && !from; j++) raw[j] = cu_nothing();
  for (uint32_t j = 0; j < p->n && from; j++) {
    uint32_t row = p->row + j * p->step;
    if (row >= a->rows) row = a->rows - 1;
    raw[j] = cu_fetch(type, from, cu_at_row(a, row, p->c), lanes);
  }
}

CU_HD void cu_no_sums(int lanes, float sum[2][CU_HALF_LANES]) {
  for (int k = 0; k < lanes; k++) sum[0][k] = sum[1][k] = 0.0f;
}

/* Join of sums over rows: the lines of this block to its part. */
CU_HD void cu_norm_keep(const cu_norm *a, uint32_t block, uint32_t thread, int lanes,
                        const float *all) {
  uint32_t part = block / a->tiles, first = (block - part * a->tiles) * a->across;

  for (uint32_t i = thread; i < 2 * (uint32_t)lanes * a->across; i += CU_BLOCK) {
    uint32_t k = i / a->across, g = i - k * a->across;
    uint32_t c = (first + g) * (uint32_t)lanes + k % (uint32_t)lanes;
    double sum = 0.0;
    if (c >= a->channels) continue;
    for (uint32_t l = 0; l < a->down; l++) sum += (double)all[k * CU_BLOCK + l * a->across + g];
    a->partial[((size_t)part * 2 + k / (uint32_t)lanes) * a->channels + c] = sum;
  }
}

/* Totals of CU_TOTALS channels, by so many threads each. */
enum { CU_TOTAL_LINES = CU_BLOCK / CU_TOTALS };
CU_HD void cu_norm_total(const cu_norm *a, uint32_t block, uint32_t thread, int lanes, int type,
                         double sum[2][CU_HALF_LANES]) {
  uint32_t c = block * CU_TOTALS + thread % CU_TOTALS;
  (void)lanes, (void)type;

  sum[0][0] = sum[1][0] = 0.0;
  for (uint32_t p = thread / CU_TOTALS; p < a->parts && c < a->channels; p += CU_TOTAL_LINES) {
    sum[0][0] += a->partial[(size_t)p * 2 * a->channels + c];
    sum[1][0] += a->partial[((size_t)p * 2 + 1) * a->channels + c];
  }
}

/* False for threads without a channel. */
CU_HD bool cu_total_of(const cu_norm *a, uint32_t block, uint32_t thread, const double *all,
                       uint32_t *c, double total[2]) {
  *c = block * CU_TOTALS + thread;
  if (thread >= CU_TOTALS || *c >= a->channels) return false;
  for (int k = 0; k < 2; k++) {
    total[k] = 0.0;
    for (uint32_t l = 0; l < CU_TOTAL_LINES; l++)
      total[k] += all[(uint32_t)k * CU_BLOCK + l * CU_TOTALS + thread];
  }
  return true;
}

#endif
