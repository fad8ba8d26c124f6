/* test_picture.c -- PNG and JPEG files of every kind a folder of images may hold, and broken ones.
 */
#include "data/exif.h"
#include "data/picture.h"

#include "picture_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { H = 8, W = 16 };
static picture_bytes file;
static pn_gray image, scratch;
static pn_picture_info info;
static pn_reject why;

/* The files of this test as seeds of the fuzzer (tests/fuzz/run.sh). */
static void keep_seed(size_t bytes) {
  static int n;
  const char *folder = getenv("PN_PICTURE_DIR");
  char path[512];
  FILE *f;

  if (!folder || bytes < file.n || n > 40) return;
  snprintf(path, sizeof path, "%s/%02d", folder, n++);
  if (!(f = fopen(path, "wb"))) return;
  fwrite(file.data, 1, bytes, f);
  fclose(f);
}

static const char *decode(size_t bytes) {
  pn_bytes b = {file.data, bytes};
  keep_seed(bytes);
  why = (pn_reject){0};
  assert_int_equal(pn_picture_decode(b, &image, &scratch, &info, &why), PN_OK);
  return why.reason;
}

static uint8_t byte_at(int i) {
  return ((uint8_t *)image.data)[i];
}

static void fill(uint8_t *p, int n, int step) {
  for (int i = 0; i < n; i++) p[i] = (uint8_t)(i * step);
}

static void test_png_grey_and_rgb(void **state) {
  uint8_t p[H * W * 3];
  (void)state;

  fill(p, sizeof p, 5);
  picture_png8(&file, p, H, W, 1);
  assert_string_equal(decode(file.n), "");
  assert_true(image.height == H && image.width == W && image.channels == 1);
  assert_memory_equal(image.data, p, H * W);
  picture_png8(&file, p, H, W, 3);
  assert_string_equal(decode(file.n), "");
  assert_int_equal(image.channels, 3);
  assert_memory_equal(image.data, p, sizeof p);
}

static void test_png_16_bits(void **state) {
  uint8_t p[H * W * 2];
  png_case c = {W, H, 16, PNG_COLOR_TYPE_GRAY, true, p, W * 2};
  (void)state;

  fill(p, sizeof p, 7);
  picture_png(&file, &c);
  assert_string_equal(decode(file.n), "");
  assert_int_equal(image.bytes_per_pixel, 2);
  for (int i = 0; i < H * W; i++)
    assert_int_equal(((uint16_t *)image.data)[i], p[2 * i] << 8 | p[2 * i + 1]);
}

static void test_png_1_bit(void **state) {
  uint8_t p[H * W / 8];
  png_case c = {W, H, 1, PNG_COLOR_TYPE_GRAY, false, p, W / 8};
  (void)state;

  fill(p, sizeof p, 37);
  picture_png(&file, &c);
  assert_string_equal(decode(file.n), "");
  for (int i = 0; i < H * W; i++)
    assert_int_equal(byte_at(i), p[i / 8] >> (7 - i % 8) & 1 ? 255 : 0);
}

static void test_png_palette(void **state) {
  uint8_t p[H * W];
  png_case c = {W, H, 8, PNG_COLOR_TYPE_PALETTE, false, p, W};
  (void)state;

  for (int i = 0; i < H * W; i++) p[i] = (uint8_t)(i % 3 == 0);
  picture_png(&file, &c);
  assert_string_equal(decode(file.n), "");
  assert_int_equal(image.channels, 3);
  assert_true(info.colour && byte_at(0) == 200 && byte_at(3) == 10 && byte_at(5) == 30);
  pn_picture_to_grey(&image);
  assert_int_equal(byte_at(0), (299 * 200 + 587 * 100 + 114 * 50 + 500) / 1000);
}

/* R = G = B with alpha: as in the NIH files that are RGBA. */
static void test_png_rgba(void **state) {
  uint8_t p[H * W * 4];
  png_case c = {W, H, 8, PNG_COLOR_TYPE_RGBA, false, p, W * 4};
  (void)state;

  for (int i = 0; i < H * W; i++) {
    memset(p + 4 * i, i, 3);
    p[4 * i + 3] = 255;
  }
  picture_png(&file, &c);
  assert_string_equal(decode(file.n), "");
  assert_true(image.channels == 3 && !info.transparent && !info.colour);
  pn_picture_to_grey(&image);
  for (int i = 0; i < H * W; i++) assert_int_equal(byte_at(i), i);
  p[7] = 254;
  picture_png(&file, &c);
  assert_string_equal(decode(file.n), "");
  assert_true(info.transparent);
}

static void test_png_broken(void **state) {
  uint8_t p[H * W];
  (void)state;

  fill(p, sizeof p, 11);
  picture_png8(&file, p, H, W, 1);
  for (size_t n = 8; n < file.n; n++) assert_string_not_equal(decode(n), "");
  file.data[45] ^= 0x10; /* inside IDAT: its checksum is wrong */
  assert_string_equal(decode(file.n), "png_corrupt");
  file.data[45] ^= 0x10;
  file.data[18] = 0x20; /* 8 rows x 8208 columns: the header's checksum is wrong */
  assert_string_not_equal(decode(file.n), "");
}

static void test_jpeg_grey_and_colour(void **state) {
  uint8_t p[H * W * 3];
  (void)state;

  for (int i = 0; i < H * W; i++) p[i] = (uint8_t)(i * 2);
  picture_jpeg(&file, p, H, W, 1, 0);
  assert_string_equal(decode(file.n), "");
  assert_int_equal(image.channels, 1);
  for (int i = 0; i < H * W; i++) assert_in_range(byte_at(i) + 4 - p[i], 0, 8);
  for (int i = 0; i < H * W; i++) memcpy(p + 3 * i, "\xC8\x32\x14", 3);
  picture_jpeg(&file, p, H, W, 3, 0);
  assert_string_equal(decode(file.n), "");
  assert_true(image.channels == 3 && info.colour);
  assert_in_range(byte_at(0), 195, 205);
  assert_in_range(byte_at(1), 45, 55);
}

static void test_jpeg_cmyk(void **state) {
  uint8_t p[H * W * 4];
  (void)state;

  for (int i = 0; i < H * W; i++) memcpy(p + 4 * i, "\xFF\x80\x40\xC0", 4);
  picture_jpeg(&file, p, H, W, 4, 0);
  assert_string_equal(decode(file.n), "");
  assert_int_equal(image.channels, 3);
  assert_in_range(byte_at(0), 190, 194); /* 255 * 192 / 255 */
  assert_in_range(byte_at(1), 94, 98);
  assert_in_range(byte_at(2), 46, 50);
}

/* The corner that is bright in the file is where the orientation says. */
static void test_orientation(void **state) {
  static const int corner[9][2] = {{0},    {0, 0}, {0, 1}, {1, 1}, {1, 0},
                                   {0, 0}, {0, 1}, {1, 1}, {1, 0}}; /* bottom?, right? */
  uint8_t p[H * W];
  (void)state;

  for (int i = 0; i < H * W; i++) p[i] = i / W < 3 && i % W < 3 ? 250 : 20;
  for (int o = 1; o <= 8; o++) {
    int64_t y, x;
    picture_jpeg(&file, p, H, W, 1, o);
    assert_int_equal(pn_exif_orientation(file.data, file.n), o);
    assert_string_equal(decode(file.n), "");
    assert_true(image.height == (o < 5 ? H : W) && info.turned == (o > 1));
    y = corner[o][0] ? image.height - 1 : 0;
    x = corner[o][1] ? image.width - 1 : 0;
    assert_true(byte_at((int)(y * image.width + x)) > 200);
  }
}

static void test_jpeg_broken(void **state) {
  uint8_t p[H * W];
  (void)state;

  for (int i = 0; i < H * W; i++) p[i] = (uint8_t)(i * 97 % 256);
  picture_jpeg(&file, p, H, W, 1, 6);
  for (size_t n = 3; n + 2 < file.n; n++) assert_string_not_equal(decode(n), "");
  for (size_t n = 0; n < file.n; n++) assert_in_range(pn_exif_orientation(file.data, n), 1, 8);
}

static void test_other_content(void **state) {
  static const struct {
    const char *bytes, *reason, *says;
  } cases[] = {{"GIF89a........", "not_a_picture", "GIF"},
               {"PK\3\4......", "archive", "zip: unpack it with unzip"},
               {"\x1F\x8B........", "archive", "gzip: unpack it with gunzip"},
               {"BM......", "not_a_picture", "BMP"},
               {"hello", "not_a_picture", "unknown"}};
  (void)state;

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    file.n = strlen(cases[i].bytes);
    memcpy(file.data, cases[i].bytes, file.n);
    assert_string_equal(decode(file.n), cases[i].reason);
    assert_non_null(strstr(why.value, cases[i].says));
  }
  memcpy(file.data, "\0\5\x16\7\0\2\0\0", 8);
  assert_string_equal(decode(8), "junk_file");
}

static int leave(void **state) {
  (void)state;
  pn_gray_free(&image);
  pn_gray_free(&scratch);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_png_grey_and_rgb),
      cmocka_unit_test(test_png_16_bits),
      cmocka_unit_test(test_png_1_bit),
      cmocka_unit_test(test_png_palette),
      cmocka_unit_test(test_png_rgba),
      cmocka_unit_test(test_png_broken),
      cmocka_unit_test(test_jpeg_grey_and_colour),
      cmocka_unit_test(test_jpeg_cmyk),
      cmocka_unit_test(test_orientation),
      cmocka_unit_test(test_jpeg_broken),
      cmocka_unit_test(test_other_content),
  };
  return cmocka_run_group_tests(tests, NULL, leave);
}
