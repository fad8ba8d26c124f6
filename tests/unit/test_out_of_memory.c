/* test_out_of_memory.c -- the message when a device has no more memory. */
#include "device/out_of_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const int64_t mib = 1 << 20;

static void fill(pn_ledger *l) {
  *l = (pn_ledger){.n = 0};
  pn_ledger_add(l, "parameters", NULL, 90 * mib);
  pn_ledger_add(l, "activations", "train.batch", 40000 * mib);
  pn_ledger_add(l, "images of the data set", "device.images to stream", 1700 * mib);
  pn_ledger_add(l, "optimizer state", NULL, 180 * mib);
  pn_ledger_add(l, "activations", "train.batch", 20000 * mib);
  pn_ledger_add(l, "activations", "train.batch", -30000 * mib);
}

static void names_the_three_largest(void **state) {
  pn_ledger l;
  const char *text;
  (void)state;
  fill(&l);
  assert_int_equal(
      pn_out_of_memory(&l, "cuda (NVIDIA H100)", "workspace", 3 * 1024 * mib, 512 * mib),
      PN_ERR_NOMEM);
  text = pn_last_error();
  if (!strstr(text,
              "cuda (NVIDIA H100): no memory for workspace: 3.00 GiB asked, 512.0 MiB free; "
              "largest: activations 29.30 GiB, images of the data set 1.66 GiB, optimizer state "
              "180.0 MiB; lower train.batch"))
    fail_msg("%s", text);
  assert_null(strstr(text, "parameters"));
}

static void what_asks_is_what_to_lower(void **state) {
  pn_ledger l;
  (void)state;
  fill(&l);
  pn_out_of_memory(&l, "cuda", "images of the data set", mib, -1);
  assert_non_null(strstr(pn_last_error(), "1.0 MiB asked, unknown free"));
  assert_non_null(strstr(pn_last_error(), "; lower device.images to stream"));
}

static void nothing_known(void **state) {
  pn_ledger l = {.n = 0};
  (void)state;
  pn_out_of_memory(&l, "cuda", "gradients", 10 * mib, 0);
  assert_non_null(strstr(pn_last_error(), "gradients: 10.0 MiB asked, 0.0 MiB free"));
  assert_null(strstr(pn_last_error(), "largest"));
  assert_null(strstr(pn_last_error(), "lower"));
}

static void many_purposes(void **state) {
  static char names[PN_LEDGER_ROWS + 4][8];
  pn_ledger l = {.n = 0};
  int64_t sum = 0;
  (void)state;
  for (int i = 0; i < PN_LEDGER_ROWS + 4; i++) {
    snprintf(names[i], sizeof names[i], "p%d", i);
    pn_ledger_add(&l, names[i], NULL, mib);
  }
  assert_int_equal(l.n, PN_LEDGER_ROWS);
  for (int i = 0; i < l.n; i++) sum += l.row[i].bytes;
  assert_int_equal(sum, (PN_LEDGER_ROWS + 4) * mib);
  pn_out_of_memory(&l, "cuda", "p0", mib, 0);
  assert_non_null(strstr(pn_last_error(), "largest: other 5.0 MiB"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_the_three_largest),
      cmocka_unit_test(what_asks_is_what_to_lower),
      cmocka_unit_test(nothing_known),
      cmocka_unit_test(many_purposes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
