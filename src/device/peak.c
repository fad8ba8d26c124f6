/* peak.c -- measured peaks: best of several short runs, since others may use the machine. */
#include "device/peak.h"

#include "base/clock.h"
#include "base/simd.h"
#include "device/device.h"
#include "device/simd/vector.h"

#include <math.h>
#include <stdlib.h>

enum { RUNS = 40, ROUNDS = 30000, ARRAYS = 3, SWEEPS = 3 };
static const int64_t ELEMENTS = 16 << 20; /* of one thread's arrays together, x 4 bytes */

static double one_flops(const pn_vector_code *v, int threads) {
  double t0 = pn_now(), flop = 2.0 * ROUNDS * PN_PEAK_CHAINS * v->lanes * threads;
  float sum = 0;

#pragma omp parallel num_threads(threads) reduction(+ : sum)
  sum += v->peak_chains(ROUNDS, 0.5f);
  return isfinite(sum) ? flop / (pn_now() - t0) : 0;
}

double pn_peak_flops(int threads) {
  const pn_vector_code *v = pn_vector_find(pn_device_lanes(), PN_F32);
  double best = 0;

  for (int i = 0; v && i < RUNS; i++) best = fmax(best, one_flops(v, threads));
  return best;
}

PN_ANY_SIMD static void triad(float *restrict a, const float *restrict b, const float *restrict c,
                              int64_t n, float s) {
  for (int64_t i = 0; i < n; i++) a[i] = b[i] + s * c[i];
}

/* Thread t's third of each array is its own: nobody shares a page. */
static void sweep(float *all, int64_t each, int threads, float s) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    float *a = all + t * ARRAYS * each;
    triad(a, a + each, a + 2 * each, each, s);
  }
}

double pn_peak_bandwidth(int threads) {
  int64_t each = ELEMENTS / ARRAYS / 16 * 16;
  double best = 0, bytes = (double)(each * ARRAYS * threads) * sizeof(float);
  float *all = aligned_alloc(64, (size_t)(each * ARRAYS * threads) * sizeof *all);

  if (!all) return 0;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (int64_t i = 0; i < ARRAYS * each; i++) all[t * ARRAYS * each + i] = (float)(i % 7);
  for (int i = 0; i < SWEEPS; i++) {
    double t0 = pn_now();
    sweep(all, each, threads, 0.5f);
    best = fmax(best, bytes / (pn_now() - t0));
  }
  free(all);
  return best;
}
