/* test_jpeg.c -- decode what was encoded; every damaged stream is rejected, none is half shown. */
#include "data/jpeg.h"
#include "data/jpeg_encode.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { H = 75, W = 101 };
static uint8_t pixels[H * W];
static uint8_t *jpeg;
static size_t n_jpeg;
static pn_jpeg_decoder *decoder;
static pn_gray image;
static pn_reject why;

static const char *decode(const uint8_t *data, size_t n, int64_t h, int64_t w) {
  pn_jpeg_stream in = {data, n, h, w};

  why = (pn_reject){0};
  if (pn_jpeg_decode_gray(decoder, &in, &image, &why) != PN_OK) fail_msg("%s", pn_last_error());
  return why.reason;
}

static void test_round_trip(void **state) {
  double worst = 0;
  (void)state;
  assert_string_equal(decode(jpeg, n_jpeg, H, W), "");
  assert_int_equal(image.height, H);
  assert_int_equal(image.width, W);
  for (int i = 0; i < H * W; i++)
    worst = fmax(worst, fabs((double)((uint8_t *)image.data)[i] - pixels[i]));
  assert_true(worst <= 8);
}

static void test_probe(void **state) {
  pn_jpeg_info info;
  (void)state;
  assert_false(pn_jpeg_probe(jpeg, n_jpeg, &info, &why));
  assert_int_equal(info.height, H);
  assert_int_equal(info.width, W);
  assert_int_equal(info.components, 1);
  assert_int_equal(info.bits, 8);
  assert_false(info.progressive || info.lossless);
}

static void test_wrong_header(void **state) {
  uint8_t *copy = malloc(n_jpeg);
  size_t sof = 0;
  (void)state;
  assert_string_equal(decode(jpeg, n_jpeg, H, W + 1), "size_conflict");
  assert_string_equal(decode(jpeg, n_jpeg, 16000, 16000), "size_conflict");
  assert_string_equal(decode((const uint8_t *)"GIF89a", 6, H, W), "jpeg_no_soi");
  assert_non_null(copy);
  memcpy(copy, jpeg, n_jpeg);
  while (!(copy[sof] == 0xFF && copy[sof + 1] == 0xC0)) sof++;
  copy[sof + 4] = 12; /* bits */
  assert_string_equal(decode(copy, n_jpeg, H, W), "bits_conflict");
  copy[sof + 4] = 8;
  copy[sof + 9] = 3; /* components */
  assert_string_equal(decode(copy, n_jpeg, H, W), "jpeg_components");
  copy[sof + 9] = 1;
  copy[sof + 5] = copy[sof + 7] = 0x3E; /* 15,9xx pixels a side: not in so few bytes */
  assert_string_equal(decode(copy, n_jpeg, 0x3E00 + H, 0x3E00 + W), "jpeg_truncated");
  free(copy);
}

/* libjpeg itself would only warn and paint the rest grey. */
static void test_cut_anywhere(void **state) {
  (void)state;
  for (size_t cut = 0; cut + 2 <= n_jpeg; cut += 13)
    if (!decode(jpeg, cut, H, W)[0]) fail_msg("cut at %zu of %zu was accepted", cut, n_jpeg);
  assert_string_equal(decode(jpeg, n_jpeg, H, W), ""); /* and the decoder still works */
}

/* One damaged byte: rejected, or another picture of the same size; never a crash. */
static void test_damaged(void **state) {
  uint8_t *copy = malloc(n_jpeg);
  int rejected = 0;
  (void)state;
  assert_non_null(copy);
  for (size_t at = 2; at < n_jpeg; at += 7) {
    memcpy(copy, jpeg, n_jpeg);
    copy[at] ^= 0xFF;
    if (decode(copy, n_jpeg, H, W)[0])
      rejected++;
    else
      assert_int_equal(image.width, W);
  }
  assert_true(rejected > 10);
  free(copy);
}

static int setup(void **state) {
  (void)state;
  for (int i = 0; i < H * W; i++)
    pixels[i] = (uint8_t)(128 + 100 * sin(i % W * 0.11) * cos(i / W * 0.07));
  if (pn_jpeg_encode_grey(pixels, W, H, 95, &jpeg, &n_jpeg) != PN_OK) return 1;
  return pn_jpeg_decoder_create(&decoder) == PN_OK ? 0 : 1;
}

static int teardown(void **state) {
  (void)state;
  free(jpeg);
  pn_gray_free(&image);
  pn_jpeg_decoder_destroy(decoder);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_probe),
      cmocka_unit_test(test_wrong_header), cmocka_unit_test(test_cut_anywhere),
      cmocka_unit_test(test_damaged),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
