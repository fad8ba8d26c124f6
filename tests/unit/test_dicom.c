/* test_dicom.c -- the DICOM reader on files built byte by byte: what is taken, and with which
 * pixels; what is rejected, and why.  Numbers in names are the rows of specs/ingest.md 2.3. */
#include "data/dicom.h"
#include "data/jpeg_encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "dicom_bytes.h"

enum { ROWS = 6, COLUMNS = 4, PIXELS = ROWS * COLUMNS };
static pn_dicom_reader *reader;
static pn_gray image;
static pn_dicom_info info;
static pn_reject why;
static uint8_t bytes8[PIXELS];
static uint8_t bytes16[2 * PIXELS];
static char path[64];

static void read_bytes(const void *data, size_t n) {
  assert_true(dicom_save(path, data, n));
  if (pn_dicom_read(reader, path, &info, &image, &why) != PN_OK) fail_msg("%s", pn_last_error());
}

static void read_case(const dicom_case *c) {
  static dicom_bytes b;
  dicom_build(&b, c);
  read_bytes(b.data, b.n);
}

static void expect(const char *reason, const char *tag) {
  assert_string_equal(why.reason, reason);
  assert_string_equal(why.tag, tag);
}

static dicom_case plain8(void) {
  return dicom_default(bytes8, sizeof bytes8, ROWS, COLUMNS);
}

static void set16(int i, unsigned v) {
  bytes16[2 * i] = (uint8_t)v;
  bytes16[2 * i + 1] = (uint8_t)(v >> 8);
}

/* 12 bits in 16: the values i * 100 + 10. */
static dicom_case deep(void) {
  dicom_case c = dicom_default(bytes16, sizeof bytes16, ROWS, COLUMNS);
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(i * 100 + 10));
  c.allocated = 16;
  c.stored = 12;
  c.high = 11;
  return c;
}

static int grey16(int i) {
  return ((const uint16_t *)image.data)[i];
}

static void test_plain(void **state) {
  dicom_case c = plain8();
  (void)state;
  read_case(&c);
  expect("", "");
  assert_int_equal(image.height, ROWS);
  assert_int_equal(image.width, COLUMNS);
  assert_int_equal(image.bytes_per_pixel, 1);
  assert_memory_equal(image.data, bytes8, PIXELS);
  assert_string_equal(info.patient_id, "patient-1");
  assert_string_equal(info.sop_uid, "1.2.3.4");
  assert_string_equal(info.view, "PA");
  assert_int_equal(info.sex, 'F');
  assert_int_equal(info.age_years, 51);
  assert_true(info.spacing_mm[0] > 0.1429f && info.spacing_mm[0] < 0.1431f);
  assert_int_equal(info.warnings, 0);
}

static void test_1_monochrome1(void **state) {
  dicom_case c = plain8();
  (void)state;
  c.photometric = "MONOCHROME1";
  read_case(&c);
  expect("", "");
  for (int i = 0; i < PIXELS; i++) assert_int_equal(((uint8_t *)image.data)[i], 255 - bytes8[i]);
  c = deep();
  c.photometric = "MONOCHROME1";
  read_case(&c);
  assert_int_equal(grey16(0), 65535);
  assert_int_equal(grey16(PIXELS - 1), 0);
}

static void test_2_deep(void **state) {
  dicom_case c = deep();
  (void)state;
  read_case(&c);
  expect("", "");
  assert_int_equal(image.bytes_per_pixel, 2);
  for (int i = 0; i < PIXELS; i++)
    assert_in_range(grey16(i), 65535 * i / (PIXELS - 1), 65535 * i / (PIXELS - 1) + 1);
}

static void test_3_signed(void **state) {
  dicom_case c = deep();
  (void)state;
  c.stored = 16;
  c.high = 15;
  c.is_signed = 1;
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(0x10000 - 12 + i) & 0xFFFF); /* -12..11 */
  read_case(&c);
  expect("", "");
  for (int i = 0; i + 1 < PIXELS; i++) assert_true(grey16(i) < grey16(i + 1));
}

static void test_4_rescale_and_window(void **state) {
  dicom_case c = deep();
  (void)state;
  c.slope = "2";
  c.intercept = "-1024";
  c.centre = "0.5"; /* LINEAR, c 0.5, w 1001: x -500 -> 0, 0 -> 0.5, 500 -> 1 */
  c.width = "1001";
  set16(0, 262); /* 2 * 262 - 1024 = -500 */
  set16(1, 512); /* 0 */
  set16(2, 762); /* 500 */
  set16(3, 387); /* -250 */
  read_case(&c);
  expect("", "");
  assert_int_equal(grey16(0), 0);
  assert_in_range(grey16(1), 32767, 32768);
  assert_int_equal(grey16(2), 65535);
  assert_in_range(grey16(3), 16383, 16384);
  c.slope = "0";
  read_case(&c);
  expect("bad_rescale", "(0028,1053)");
  c.slope = "nan";
  read_case(&c);
  expect("bad_rescale", "(0028,1053)");
  c.slope = "1";
  c.width = "0";
  read_case(&c);
  expect("bad_window", "(0028,1051)");
}

static void test_38_high_bit(void **state) {
  dicom_case c = deep();
  (void)state;
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(i * 100 + 10) << 4);
  c.high = 15;
  read_case(&c);
  expect("", "");
  assert_in_range(grey16(1), 65535 / (PIXELS - 1), 65535 / (PIXELS - 1) + 1);
  c.high = 10;
  read_case(&c);
  expect("bits_conflict", "(0028,0102)");
}

static void test_39_40_garbage_and_padding(void **state) {
  dicom_case c = deep();
  (void)state;
  set16(5, 0xF000 | 510);
  read_case(&c);
  expect("", "");
  assert_int_equal(info.warnings, PN_DICOM_W_HIGH_GARBAGE | PN_DICOM_W_MIN_MAX);
  assert_in_range(grey16(5), 65535 * 5 / (PIXELS - 1), 65535 * 5 / (PIXELS - 1) + 1);
  c.padding = 10; /* pixel 0: left out of min..max, black */
  read_case(&c);
  assert_int_equal(grey16(0), 0);
  assert_int_equal(grey16(1), 0);
  assert_int_equal(grey16(PIXELS - 1), 65535);
  for (int i = 0; i < PIXELS; i++) set16(i, 10);
  read_case(&c);
  expect("no_valid_pixels", "(0028,0120)");
}

static void test_rejected_headers(void **state) {
  dicom_case all[20], d = plain8();
  const char *reason[20], *tag[20];
  int n = 0;
  (void)state;
#define REJECTED(member, value, why_text, where)                                                   \
  (all[n] = d, all[n].member = (value), reason[n] = (why_text), tag[n++] = (where))
  REJECTED(frames, "3", "pixels_truncated", "(7fe0,0010)"); /* 11 */
  REJECTED(frames, "many", "bad_frames", "(0028,0008)");
  REJECTED(rows, 0, "bad_dimensions", "(0028,0010)");                   /* 12 */
  REJECTED(rows, -1, "missing_attribute", "(0028,0010)");               /* 13 */
  REJECTED(pixels, NULL, "missing_attribute", "(7fe0,0010)");           /* 14 */
  REJECTED(pixel_bytes, PIXELS - 2, "pixels_truncated", "(7fe0,0010)"); /* 15 */
  REJECTED(syntax, JPEG_SYNTAX, "corrupt_file", "");                    /* 24 */
  REJECTED(syntax, "1.2.3.4.5", "unknown_syntax", "(0002,0010)");       /* 28 */
  REJECTED(rows, 65535, "bad_dimensions", "(0028,0010)");               /* 35 */
  REJECTED(columns, 16000, "pixels_truncated", "(7fe0,0010)");          /* 35 */
  REJECTED(samples, 3, "samples_conflict", "(0028,0002)");
  REJECTED(photometric, "HSV", "unsupported_photometric", "(0028,0004)");
  REJECTED(photometric, "PALETTE COLOR", "missing_attribute", "(0028,1201)");
  REJECTED(allocated, 24, "unsupported_bits", "(0028,0100)");
  REJECTED(stored, 9, "bits_conflict", "(0028,0101)");
  REJECTED(is_signed, 2, "bits_conflict", "(0028,0103)");
  REJECTED(stored, -1, "missing_attribute", "(0028,0101)");
#undef REJECTED
  for (int i = 0; i < n; i++) {
    read_case(&all[i]);
    if (strcmp(why.reason, reason[i]) != 0 || strcmp(why.tag, tag[i]) != 0)
      fail_msg("case %d: '%s' '%s' %s, expected %s", i, why.reason, why.tag, why.value, reason[i]);
  }
}

static void test_16_excess_and_29_30_no_meta(void **state) {
  static uint8_t more[PIXELS + 600];
  dicom_case c = dicom_default(more, sizeof more, ROWS, COLUMNS);
  (void)state;
  read_case(&c);
  expect("", "");
  assert_int_equal(info.warnings, PN_DICOM_W_EXCESS_PIXELS);
  c = plain8();
  c.no_mark = true;
  read_case(&c);
  expect("", "");
  assert_int_equal(info.warnings, PN_DICOM_W_NO_META);
  assert_memory_equal(image.data, bytes8, PIXELS);
}

static void test_43_age(void **state) {
  static const struct {
    const char *text;
    int age;
  } cases[] = {{"051Y", 51}, {"151", -1}, {"", -1}, {"30M", 2}, {"99", 90}, {"x", -1}, {NULL, -1}};
  dicom_case c = plain8();
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    c.age = cases[i].text;
    read_case(&c);
    expect("", "");
    assert_int_equal(info.age_years, cases[i].age);
    assert_int_equal(info.warnings, cases[i].age < 0 ? PN_DICOM_W_ODD_AGE : 0);
  }
}

/* A smooth 32 x 48 picture as JPEG. */
static uint8_t *make_jpeg(int height, int width, size_t *n) {
  uint8_t *pixels = malloc((size_t)(height * width)), *jpeg = NULL;
  assert_non_null(pixels);
  for (int i = 0; i < height * width; i++) pixels[i] = (uint8_t)(i % width * 3 + i / width);
  assert_int_equal(pn_jpeg_encode_grey(pixels, width, height, 90, &jpeg, n), PN_OK);
  free(pixels);
  return jpeg;
}

static dicom_case jpeg_case(const uint8_t *jpeg, size_t n) {
  dicom_case c = dicom_default(jpeg, n, 32, 48);
  c.syntax = JPEG_SYNTAX;
  c.encapsulated = true;
  return c;
}

static void test_jpeg(void **state) {
  size_t n = 0;
  uint8_t *jpeg = make_jpeg(32, 48, &n), whole[32 * 48];
  dicom_case c = jpeg_case(jpeg, n);
  (void)state;
  read_case(&c);
  expect("", "");
  assert_int_equal(image.height, 32);
  assert_in_range(((uint8_t *)image.data)[10 * 48 + 20], 66, 74); /* 70 */
  memcpy(whole, image.data, sizeof whole);
  c.split = n / 3 & ~(size_t)1; /* 22 */
  read_case(&c);
  expect("", "");
  assert_memory_equal(image.data, whole, sizeof whole);
  c.split = 0;
  c.rows = c.columns = 64; /* 21 */
  read_case(&c);
  expect("size_conflict", "(7fe0,0010)");
  c = jpeg_case(jpeg, n / 2); /* 18 */
  read_case(&c);
  assert_non_null(strstr(why.reason, "jpeg_"));
  c = jpeg_case((const uint8_t *)"not a JPEG stream...", 20); /* 20 */
  read_case(&c);
  expect("jpeg_no_soi", "(7fe0,0010)");
  c = jpeg_case(jpeg, n); /* 37 */
  c.allocated = 16;
  c.stored = 12;
  c.high = 11;
  read_case(&c);
  expect("bits_conflict", "(0028,0101)");
  c = jpeg_case(jpeg, n); /* 25 */
  c.syntax = RAW_SYNTAX;
  c.encapsulated = false;
  read_case(&c);
  expect("pixels_truncated", "(7fe0,0010)");
  assert_non_null(strstr(why.value, "starts like JPEG"));
  free(jpeg);
}

/* 17, 19: a file cut anywhere is rejected, or (cut behind the pixels) whole. */
static void test_cut_anywhere(void **state) {
  static dicom_bytes b;
  size_t n = 0;
  uint8_t *jpeg = make_jpeg(32, 48, &n);
  dicom_case cases[2] = {plain8(), jpeg_case(jpeg, n)};
  (void)state;
  for (int k = 0; k < 2; k++) {
    dicom_build(&b, &cases[k]);
    for (size_t cut = 0; cut < b.n; cut += cut < 200 ? 37 : 11) {
      read_bytes(b.data, cut);
      if (!why.reason[0]) fail_msg("case %d cut at %zu of %zu was accepted", k, cut, b.n);
    }
  }
  free(jpeg);
}

static void test_not_dicom(void **state) {
  static const char png[200] = "\x89PNG\r\n", zip[200] = "PK\x03\x04", gz[200] = "\x1F\x8B";
  static const char text[200] = "patientId,x,y\n";
  static const char junk[200] = {0, 5, 22, 7};
  (void)state;
  read_bytes("", 0);
  expect("empty_file", ""); /* 32 */
  read_bytes(png, sizeof png);
  expect("not_dicom", "");
  assert_non_null(strstr(why.value, "PNG"));
  read_bytes(zip, sizeof zip);
  assert_non_null(strstr(why.value, "unzip")); /* 60 */
  read_bytes(gz, sizeof gz);
  assert_non_null(strstr(why.value, "gunzip"));
  read_bytes(text, sizeof text);
  expect("not_dicom", ""); /* 33 */
  read_bytes(junk, sizeof junk);
  expect("junk_file", ""); /* 58 */
}

/* 54: nothing blocks. */
static void test_odd_files(void **state) {
  (void)state;
  unlink(path);
  assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
  expect("file_vanished", "");
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
  expect("not_a_regular_file", "");
  unlink(path);
  assert_int_equal(symlink(path, path), 0);
  assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
  expect("link_loop", "");
  unlink(path);
}

static int setup(void **state) {
  (void)state;
  snprintf(path, sizeof path, "test_dicom.%ld.dcm", (long)getpid());
  for (int i = 0; i < PIXELS; i++) bytes8[i] = (uint8_t)(i * 10 + 5);
  if (pn_dicom_reader_create(&reader) != PN_OK) {
    printf("skipped: %s\n", pn_last_error());
    exit(77);
  }
  return 0;
}

static int teardown(void **state) {
  (void)state;
  unlink(path);
  pn_gray_free(&image);
  pn_dicom_reader_destroy(reader);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain),
      cmocka_unit_test(test_1_monochrome1),
      cmocka_unit_test(test_2_deep),
      cmocka_unit_test(test_3_signed),
      cmocka_unit_test(test_4_rescale_and_window),
      cmocka_unit_test(test_38_high_bit),
      cmocka_unit_test(test_39_40_garbage_and_padding),
      cmocka_unit_test(test_rejected_headers),
      cmocka_unit_test(test_16_excess_and_29_30_no_meta),
      cmocka_unit_test(test_43_age),
      cmocka_unit_test(test_jpeg),
      cmocka_unit_test(test_cut_anywhere),
      cmocka_unit_test(test_not_dicom),
      cmocka_unit_test(test_odd_files),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
