/* test_loss_scale.c -- fp16 as bits, and the scale of the loss that fp16 needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fp16.h"
#include "optim/loss_scale.h"

#include <math.h>

/* Every finite number comes back; between two neighbours the nearer one is taken, in the middle the
 * one with an even last bit. */
static void test_rounding(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 0x7c00u; h++) {
    float low = pn_fp16_to_f32((pn_fp16)h);
    float high = h == 0x7bffu ? 65536.0f : pn_fp16_to_f32((pn_fp16)(h + 1));
    float middle = 0.5f * (low + high);
    assert_true(high > low);
    assert_int_equal(pn_fp16_of(low), h);
    assert_int_equal(pn_fp16_of(-low), h | 0x8000u);
    assert_int_equal(pn_fp16_of(nextafterf(middle, 0.0f)), h);
    assert_int_equal(pn_fp16_of(nextafterf(middle, 1e30f)), h + 1);
    assert_int_equal(pn_fp16_of(middle), h & 1u ? h + 1 : h);
  }
}

static void test_special(void **state) {
  (void)state;
  assert_true(pn_fp16_to_f32(0x3c00) == 1.0f && pn_fp16_to_f32(0xc000) == -2.0f);
  assert_true(pn_fp16_to_f32(0x7bff) == 65504.0f && pn_fp16_to_f32(0x0001) == 0x1p-24f);
  assert_true(isinf(pn_fp16_to_f32(0x7c00)) && isnan(pn_fp16_to_f32(0x7e01)));
  assert_int_equal(pn_fp16_of(1e6f), 0x7c00);
  assert_int_equal(pn_fp16_of(-INFINITY), 0xfc00);
  assert_true(isnan(pn_fp16_to_f32(pn_fp16_of(NAN))));
  assert_int_equal(pn_fp16_of(1e-30f), 0);
}

/* torch.amp.GradScaler(init_scale=1024, growth_interval=3) on the same steps. */
static void test_rules(void **state) {
  static const bool overflow[] = {false, false, true, false, false, false, false, true, true};
  static const double after[] = {1024, 1024, 512, 512, 512, 1024, 1024, 512, 256};
  pn_loss_scale s = {.scale = 1024, .interval = 3};
  (void)state;

  for (size_t i = 0; i < sizeof overflow / sizeof *overflow; i++) {
    assert_int_equal(pn_loss_scale_step(&s, overflow[i]), PN_OK);
    assert_true(!(s.scale < after[i]) && !(s.scale > after[i]));
  }
  assert_int_equal(s.skipped, 3);
}

/* Gradients that are never finite end the run; good steps never make the scale infinite. */
static void test_ends(void **state) {
  pn_loss_scale s = {.scale = 65536, .interval = 1};
  int n = 0;
  (void)state;

  while (n < 1000 && pn_loss_scale_step(&s, true) == PN_OK) n++;
  assert_int_equal(n, 26); /* 2^16 to 2^-10 */
  s = (pn_loss_scale){.scale = 1, .interval = 1};
  for (n = 0; n < 1000; n++) assert_int_equal(pn_loss_scale_step(&s, false), PN_OK);
  assert_true(isfinite((float)s.scale));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rounding),
                                     cmocka_unit_test(test_special), cmocka_unit_test(test_rules),
                                     cmocka_unit_test(test_ends)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
