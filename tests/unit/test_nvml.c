/* test_nvml.c -- figures of a GPU, from tests/fake/fake_nvml.c in the library's place
 * (LD_LIBRARY_PATH, see tests/CMakeLists.txt). */
#include "base/clock.h"
#include "prof/gpu_watch.h"
#include "train/gpu_columns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char bus[] = "00000000:3b:00.0";

static bool says(const char *part) {
  return strstr(pn_last_error(), part) != NULL;
}

static void all_figures(void **state) {
  pn_nvml *n = NULL;
  pn_gpu_sample s;
  (void)state;
  assert_int_equal(pn_nvml_open(bus, &n), PN_OK);
  pn_nvml_sample(n, &s);
  assert_true(s.value[PN_GPU_UTILIZATION] == 87 && s.value[PN_GPU_MEMORY] == 20.0 * (1 << 30));
  assert_true(s.value[PN_GPU_POWER] == 250 && s.value[PN_GPU_CLOCK] == 1755);
  assert_true(s.value[PN_GPU_ENERGY] > 0);
  pn_nvml_close(n);
  pn_nvml_close(NULL);
}

static void errors(void **state) {
  pn_nvml *n = NULL;
  (void)state;
  assert_int_equal(pn_nvml_open("00000000:ff:00.0", &n), PN_ERR_DEVICE);
  assert_null(n);
  assert_true(says("nvmlDeviceGetHandleByPciBusId: Not Found (6)"));
  setenv("FAKE_NVML", "fail", 1);
  assert_int_equal(pn_nvml_open(bus, &n), PN_ERR_DEVICE);
  assert_true(says("nvmlInit: Driver Not Loaded"));
  unsetenv("FAKE_NVML");
}

static void what_is_not_told_is_nan(void **state) {
  pn_nvml *n = NULL;
  pn_gpu_sample s;
  (void)state;
  setenv("FAKE_NVML", "mute", 1);
  assert_int_equal(pn_nvml_open(bus, &n), PN_OK);
  pn_nvml_sample(n, &s);
  unsetenv("FAKE_NVML");
  assert_true(isnan(s.value[PN_GPU_POWER]) && isnan(s.value[PN_GPU_ENERGY]));
  assert_true(s.value[PN_GPU_CLOCK] == 1755);
  pn_nvml_close(n);
}

/* Energy over a time is power times that time, between samples too, counted by the GPU or not. */
static void energy(const char *mode) {
  pn_gpu_watch *w = NULL;
  pn_gpu_sample a, b;
  double t0, t1;

  setenv("FAKE_NVML", mode, 1);
  assert_int_equal(pn_gpu_watch_start(bus, 0.02, &w), PN_OK);
  pn_gpu_watch_now(w, &a);
  t0 = pn_now();
  pn_sleep(0.25);
  pn_gpu_watch_now(w, &b);
  t1 = pn_now();
  pn_gpu_watch_stop(w);
  unsetenv("FAKE_NVML");
  assert_true(fabs(b.value[PN_GPU_ENERGY] - a.value[PN_GPU_ENERGY] - 250 * (t1 - t0)) < 12);
}

static void energy_is_carried_on(void **state) {
  (void)state;
  energy("counted");
  energy("uncounted");
}

static void means_of_an_epoch(void **state) {
  const double fast[PN_GPU_FIGURES] = {90, 1e9, 300, 1800, 30};
  const double slow[PN_GPU_FIGURES] = {30, 2e9, 100, 1200, 30};
  pn_gpu_part part = {.seconds = 0};
  double out[PN_GPU_FIGURES];
  (void)state;
  pn_gpu_part_add(&part, fast, 0.1);
  pn_gpu_part_add(&part, slow, 0.3);
  pn_gpu_part_figures(&part, out);
  assert_true(fabs(out[PN_GPU_UTILIZATION] - 45) < 1e-9 && out[PN_GPU_MEMORY] == 2e9);
  assert_true(fabs(out[PN_GPU_POWER] - 150) < 1e-9 && fabs(out[PN_GPU_CLOCK] - 1350) < 1e-9);
  assert_true(out[PN_GPU_ENERGY] == 60);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_figures),
      cmocka_unit_test(errors),
      cmocka_unit_test(what_is_not_told_is_nan),
      cmocka_unit_test(energy_is_carried_on),
      cmocka_unit_test(means_of_an_epoch),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
