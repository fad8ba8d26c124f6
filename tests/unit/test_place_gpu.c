/* test_place_gpu.c -- which rank takes which GPU: the rule, and PCI locality from a made-up host.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comm/place_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

/* Ranks as letters: each sees all GPUs; near[r] has one digit per GPU, in tenths. */
typedef struct {
  int ranks, gpus;
  const char *near[MOST];
  int want[MOST];
} seating;

static const seating table[] = {
    {4, 4, {"9900", "9900", "0099", "0099"}, {0, 1, 2, 3}},
    {4, 4, {"0099", "0099", "9900", "9900"}, {2, 3, 0, 1}}, /* numbered the other way round */
    {4, 4, {"5555", "5555", "5555", "5555"}, {0, 1, 2, 3}}, /* not bound: by number */
    {2, 2, {"55", "90"}, {1, 0}},                           /* the first leaves the near one */
    {2, 4, {"9900", "0099"}, {0, 2}},
    {4, 2, {"90", "90", "09", "09"}, {0, 0, 1, 1}}, /* two on each */
    {4, 2, {"90", "90", "90", "09"}, {0, 1, 0, 1}}, /* evenly, though one has to go far */
    {3, 2, {"90", "09", "09"}, {0, 1, 1}},
    {1, 8, {"00000090"}, {6}},
    {8,
     8,
     {"99990000", "99990000", "99990000", "99990000", "00009999", "00009999", "00009999",
      "00009999"},
     {0, 1, 2, 3, 4, 5, 6, 7}},
};
enum { ROWS = sizeof table / sizeof *table };

static void show(pn_gpu_view *v, int gpu, double near) {
  v->near[v->seen.n] = near;
  snprintf(v->seen.bus[v->seen.n++], PN_BUS_BYTES, "0000:%02x:00.0", gpu);
}

static void nearest_and_even(void **state) {
  (void)state;
  for (int i = 0; i < ROWS; i++) {
    const seating *t = &table[i];
    pn_gpu_view view[MOST] = {{.seen = {.n = 0}}};
    int index[MOST];
    for (int r = 0; r < t->ranks; r++)
      for (int g = 0; g < t->gpus; g++) show(&view[r], g, (t->near[r][g] - '0') / 10.0);
    pn_gpu_assign(view, t->ranks, index);
    for (int r = 0; r < t->ranks; r++)
      if (index[r] != t->want[r])
        fail_msg("row %d, rank %d: GPU %d, expected %d", i, r, index[r], t->want[r]);
  }
}

/* srun --gpus-per-task=1: everybody's own is number 0; and lists that overlap. */
static void visible_devices_differ(void **state) {
  (void)state;
  pn_gpu_view view[4] = {{.seen = {.n = 0}}};
  int index[4];

  for (int r = 0; r < 4; r++) show(&view[r], 3 - r, 0);
  pn_gpu_assign(view, 4, index);
  for (int r = 0; r < 4; r++) assert_int_equal(index[r], 0);

  memset(view, 0, sizeof view);
  show(&view[0], 5, 0.5); /* 5 6 | 5 | 6 7 | nothing */
  show(&view[0], 6, 0.5);
  show(&view[1], 5, 0.5);
  show(&view[2], 6, 0.5);
  show(&view[2], 7, 0.5);
  pn_gpu_assign(view, 4, index);
  assert_string_equal(view[0].seen.bus[index[0]], "0000:06:00.0"); /* 5 is all that rank 1 has */
  assert_int_equal(index[1], 0);
  assert_string_equal(view[2].seen.bus[index[2]], "0000:07:00.0");
  assert_int_equal(index[3], -1);
}

static pn_status ask(const char *const *bus, int n, pn_gpu_seat *out) {
  char path[1024];
  pn_gpu_list seen = {.n = n};
  pn_comm *self = NULL;
  pn_status st;

  for (int g = 0; g < n; g++) snprintf(seen.bus[g], PN_BUS_BYTES, "%s", bus[g]);
  snprintf(path, sizeof path, "%s/tests/unit/two_sockets_four_gpus.xml", getenv("SOURCE_DIR"));
  setenv("HWLOC_XMLFILE", path, 1);
  assert_int_equal(pn_comm_self(&self), PN_OK);
  st = pn_place_gpu(self, &seen, out);
  pn_comm_destroy(self);
  unsetenv("HWLOC_XMLFILE");
  return st;
}

/* The rank may run on both sockets: half of its cores are near any GPU. */
static void locality_comes_from_hwloc(void **state) {
  (void)state;
  static const char *const cuda[] = {"0000:41:00.0", "0000:01:00.0"};
  static const char *const nvml[] = {"00000000:42:00.0"};
  pn_gpu_seat seat;

  assert_int_equal(ask(cuda, 2, &seat), PN_OK);
  assert_int_equal(seat.index, 0);
  assert_int_equal(seat.sharing, 1);
  assert_true(seat.near == 0.5 && seat.nearest == 0.5);
  assert_int_equal(ask(nvml, 1, &seat), PN_OK);
  assert_true(seat.near == 0.5);
  assert_int_equal(ask(NULL, 0, &seat), PN_OK);
  assert_int_equal(seat.index, -1);
}

static void odd_addresses(void **state) {
  (void)state;
  static const char *const unknown[] = {"0000:99:00.0"}, *const wrong[] = {"GPU-1234"};
  pn_gpu_seat seat;

  assert_int_equal(ask(unknown, 1, &seat), PN_OK); /* nobody knows: near to all */
  assert_true(seat.index == 0 && seat.near == 1);
  assert_int_equal(ask(wrong, 1, &seat), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "'GPU-1234' is not a PCI address"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nearest_and_even),
      cmocka_unit_test(visible_devices_differ),
      cmocka_unit_test(locality_comes_from_hwloc),
      cmocka_unit_test(odd_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
