/* test_dicom_table.c -- rows 1-11, 38-40 and 45 of the table: what stored values mean. */
#include "dicom_table.h"

static void check_inverse8(void) {
  for (int i = 0; i < PIXELS; i++) near_grey(i, 255 - (3 * i + 7), 0);
  assert_true(info.inverted);
}

static void check_inverse16(void) {
  for (int i = 0; i < PIXELS; i++) near_grey(i, 65535 - 65535.0 * i / 63, 0.51);
}

/* 2 v - 1024 through a window: v = 40 i + 7. */
static double x_of(int i) {
  return 2 * (40.0 * i + 7) - 1024;
}

static void check_linear(void) { /* c 1000, w 2000 */
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 65535 * fmin(fmax((x_of(i) - 999.5) / 1999 + 0.5, 0), 1), 0.51);
}

static void check_exact(void) {
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 65535 * fmin(fmax((x_of(i) - 1000) / 2000 + 0.5, 0), 1), 0.51);
}

static void check_sigmoid(void) {
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 65535 / (1 + exp(-4 * (x_of(i) - 1000) / 2000)), 0.51);
}

static dicom_case windowed(void) {
  dicom_case c = deep();
  c.slope = "2";
  c.intercept = "-1024";
  c.centre = "1000\\40"; /* row 5: the first is taken */
  c.width = "2000\\10";
  return c;
}

static dicom_case signed16(void) {
  dicom_case c = deep();
  c.stored = 16;
  c.high = 15;
  c.is_signed = 1;
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(i * 20 - 848) & 0xFFFF);
  return c;
}

CASE(mono1_8, plain8, c.photometric = "MONOCHROME1")
CASE(mono1_16, deep, c.photometric = "MONOCHROME1")
CASE(inverse_shape, plain8, c.shape = "INVERSE")
CASE(bits12, deep, (void)0)
CASE(signed_ramp, signed16, (void)0)
CASE(linear, windowed, c.function = "LINEAR")
CASE(exact, windowed, c.function = "LINEAR_EXACT")
CASE(sigmoid, windowed, c.function = "SIGMOID")
CASE(no_function, windowed, c.function = NULL)
CASE(bad_function, windowed, c.function = "CUBIC")
CASE(slope0, windowed, c.slope = "0")
CASE(slope_nan, windowed, c.slope = "nan")
CASE(width0, windowed, c.width = "0")
CASE(second_window, windowed, c.centre = "40\\1000", c.width = "10\\2000")

/* --- tables: 6 */
static void put_table(dicom_bytes *b, unsigned sequence, const uint16_t *d, const char *vr,
                      const uint16_t *v, size_t n) {
  uint32_t data = (uint32_t)(2 * n), item = 14 + (vr[0] == 'O' ? 12u : 8u) + data;
  put_head(b, 0x0028, sequence, "SQ", item + 8);
  put_u32(b, 0xE000FFFEu);
  put_u32(b, item);
  put_words(b, 0x0028, 0x3002, "US", d, 3);
  put_words(b, 0x0028, 0x3006, vr, v, n);
}

enum { FIRST = 47, ENTRIES = 50 }; /* inputs 47 .. 96 */
static uint16_t falling(int i) {
  return (uint16_t)(1000 - 20 * i);
}

static void put_voi(dicom_bytes *b) {
  const uint16_t d[3] = {ENTRIES, FIRST, 10};
  uint16_t v[ENTRIES];
  for (int i = 0; i < ENTRIES; i++) v[i] = falling(i);
  put_table(b, 0x3010, d, "US", v, ENTRIES);
}

static void put_short_voi(dicom_bytes *b) {
  const uint16_t d[3] = {ENTRIES, FIRST, 10}, v[3] = {0};
  put_table(b, 0x3010, d, "OW", v, 3);
}

static void put_wide_voi(dicom_bytes *b) {
  const uint16_t d[3] = {3, FIRST, 17}, v[3] = {0};
  put_table(b, 0x3010, d, "OW", v, 3);
}

static void put_modality(dicom_bytes *b) { /* 8-bit values packed in words: x -> 3 x, from 0 */
  const uint16_t d[3] = {80, 0, 8};
  uint16_t v[40];
  for (int i = 0; i < 40; i++) v[i] = (uint16_t)(6 * i | (6 * i + 3) << 8);
  put_table(b, 0x3000, d, "OW", v, 40);
}

static int clamp(int v, int last) {
  return v < 0 ? 0 : v > last ? last : v;
}

static dicom_case small_deep(void) { /* values 2 i */
  dicom_case c = deep();
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(2 * i));
  return c;
}

static void check_voi(void) {
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 65535.0 * falling(clamp(2 * i - FIRST, ENTRIES - 1)) / 1023, 0.51);
}

/* Modality (3 v, v at most 79), then a window of its output. */
static void check_modality(void) { /* c 100.5, w 201 LINEAR: (x - 100) / 200 + 0.5 */
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 65535 * fmin(fmax(3.0 * clamp(2 * i, 79) / 200, 0), 1), 0.51);
}

CASE(voi, small_deep, c.more = put_voi, c.centre = "1", c.width = "5")
CASE(short_voi, small_deep, c.more = put_short_voi)
CASE(wide_voi, small_deep, c.more = put_wide_voi)
CASE(modality, small_deep, c.more = put_modality, c.centre = "100.5", c.width = "201")

/* --- colour: 7 */
static dicom_case colour(int planar, int blue) {
  dicom_case c = plain8();
  c.photometric = "RGB";
  c.samples = 3;
  c.pixel_bytes = sizeof bytes8;
  c.planar_plus_1 = planar + 1;
  for (int i = 0; i < PIXELS; i++)
    for (int k = 0; k < 3; k++)
      bytes8[planar ? k * PIXELS + i : 3 * i + k] = (uint8_t)(k == 2 && blue ? blue : 3 * i + 7);
  return c;
}

static dicom_case grey_by_pixel(void) {
  return colour(0, 0);
}
static dicom_case grey_by_plane(void) {
  return colour(1, 0);
}
static dicom_case blue_by_pixel(void) {
  return colour(0, 250);
}
static dicom_case blue_by_plane(void) {
  return colour(1, 250);
}

static void check_blue(void) {
  for (int i = 0; i < PIXELS; i++) near_grey(i, 0.886 * (3 * i + 7) + 0.114 * 250, 0.51);
}

static void put_palette(dicom_bytes *b) { /* index v -> (2 v, 2 v, 0), 16 bits */
  const uint16_t d[3] = {256, 0, 16};
  uint16_t v[256];
  for (int i = 0; i < 256; i++) v[i] = (uint16_t)(2 * i);
  for (unsigned k = 0; k < 3; k++) put_words(b, 0x0028, 0x1101 + k, "US", d, 3);
  for (unsigned k = 0; k < 2; k++) put_words(b, 0x0028, 0x1201 + k, "OW", v, 256);
  memset(v, 0, sizeof v);
  put_words(b, 0x0028, 0x1203, "OW", v, 256);
}

static void check_palette(void) {
  assert_int_equal(image.bytes_per_pixel, 2);
  for (int i = 0; i < PIXELS; i++) near_grey(i, 0.886 * 2 * (3 * i + 7), 0.51);
}

static dicom_case ybr422(void) { /* Y Y Cb Cr */
  dicom_case c = colour(0, 0);
  c.photometric = "YBR_FULL_422";
  c.pixel_bytes = PIXELS * 2;
  for (int i = 0; i < PIXELS / 2; i++) {
    bytes8[4 * i] = (uint8_t)(3 * (2 * i) + 7);
    bytes8[4 * i + 1] = (uint8_t)(3 * (2 * i + 1) + 7);
    bytes8[4 * i + 2] = 128;
    bytes8[4 * i + 3] = 90;
  }
  return c;
}

CASE(rgb_pixel, grey_by_pixel, (void)0)
CASE(rgb_plane, grey_by_plane, (void)0)
CASE(rgb_blue_pixel, blue_by_pixel, (void)0)
CASE(rgb_blue_plane, blue_by_plane, (void)0)
CASE(rgb_no_planar, blue_by_plane, c.planar_plus_1 = 0)
CASE(ybr_plane, grey_by_plane, c.photometric = "YBR_FULL")
CASE(ybr_422, ybr422, (void)0)
CASE(palette, plain8, c.photometric = "PALETTE COLOR", c.more = put_palette)

/* --- frames: 10, 11 */
static uint8_t frames3[3 * PIXELS];
static dicom_case three(void) {
  dicom_case c = plain8();
  memcpy(frames3, bytes8, PIXELS);
  for (int i = 0; i < PIXELS; i++) frames3[PIXELS + i] = (uint8_t)i;
  c.pixels = frames3;
  c.pixel_bytes = sizeof frames3;
  c.frames = "3";
  return c;
}

static void check_all_frames(void) {
  assert_int_equal(info.frames, 3);
  check_ramp8();
  assert_int_equal(pn_dicom_read_frame(reader, 1, &info, &image, &why), PN_OK);
  for (int i = 0; i < PIXELS; i++) near_grey(i, i, 0);
}

CASE(frames_3, three, (void)0)
CASE(frames_short, three, c.pixel_bytes = PIXELS)

/* --- bits: 38, 39, 40 */
static dicom_case high15(void) {
  dicom_case c = deep();
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(40 * i + 7) << 4);
  c.high = 15;
  return c;
}

static dicom_case garbage(void) {
  dicom_case c = deep();
  set16(5, 0xF000 | (40 * 5 + 7));
  return c;
}

static dicom_case padded(void) { /* pixel 0 is padding */
  dicom_case c = deep();
  set16(0, 4000);
  return c;
}

static void check_padded(void) { /* 47 .. 2527, padding black */
  near_grey(0, 0, 0);
  for (int i = 1; i < PIXELS; i++) near_grey(i, 65535.0 * (i - 1) / 62, 0.51);
}

static void check_padded_inverse(void) {
  near_grey(0, 0, 0);
  near_grey(1, 65535, 0);
  near_grey(PIXELS - 1, 0, 0);
}

CASE(high_15, high15, (void)0)
CASE(high_10, deep, c.high = 10)
CASE(high_garbage, garbage, (void)0)
CASE(padding, padded, c.padding = 4000)
CASE(padding_range, padded, c.padding = 3900, c.limit_plus_1 = 4001)
CASE(padding_inverse, padded, c.padding = 4000, c.photometric = "MONOCHROME1")
CASE(aspect, plain8, c.aspect = "2\\1")

enum { RANGE = PN_DICOM_W_MIN_MAX, WINDOWS = PN_DICOM_W_SEVERAL_WINDOWS, HUE = PN_DICOM_W_COLOUR };
#define TAKEN "", "", NULL

static const table_case table[] = {
    {1, "MONOCHROME1, 8 bits", mono1_8, TAKEN, 0, check_inverse8, {0}},
    {1, "MONOCHROME1, 12 bits", mono1_16, TAKEN, RANGE, check_inverse16, {0}},
    {1, "PresentationLUTShape INVERSE", inverse_shape, TAKEN, 0, check_inverse8, {0}},
    {2, "12 bits in 16", bits12, TAKEN, RANGE, check_ramp16, {0}},
    {3, "signed 16", signed_ramp, TAKEN, RANGE, check_ramp16, {0}},
    {4, "slope and intercept, window LINEAR", linear, TAKEN, WINDOWS, check_linear, {0}},
    {4, "window LINEAR_EXACT", exact, TAKEN, WINDOWS, check_exact, {0}},
    {4, "window SIGMOID", sigmoid, TAKEN, WINDOWS, check_sigmoid, {0}},
    {4, "unknown window function", bad_function, "bad_window", "(0028,1056)", NULL, 0, NULL, {0}},
    {4, "slope 0", slope0, "bad_rescale", "(0028,1053)", NULL, 0, NULL, {0}},
    {4, "slope NaN", slope_nan, "bad_rescale", "(0028,1053)", NULL, 0, NULL, {0}},
    {4, "window of width 0", width0, "bad_window", "(0028,1051)", NULL, 0, NULL, {0}},
    {5, "two windows: the first", no_function, TAKEN, WINDOWS, check_linear, {0}},
    {5, "two windows: the second", second_window, TAKEN, WINDOWS, check_linear, {.window = 2}},
    {5, "window 3 of 2", linear, "bad_window", "(0028,1050)", "3 of 2", 0, NULL, {.window = 3}},
    {6, "VOI LUT, inverse, beside a window", voi, TAKEN, 0, check_voi, {0}},
    {6,
     "VOI LUT shorter than its descriptor",
     short_voi,
     "bad_lut",
     "(0028,3010)",
     NULL,
     0,
     NULL,
     {0}},
    {6, "VOI LUT of 17 bits", wide_voi, "bad_lut", "(0028,3010)", NULL, 0, NULL, {0}},
    {6, "modality LUT, then a window", modality, TAKEN, 0, check_modality, {0}},
    {7, "RGB by pixel, R = G = B", rgb_pixel, TAKEN, 0, check_ramp8, {0}},
    {7, "RGB by plane, R = G = B", rgb_plane, TAKEN, 0, check_ramp8, {0}},
    {7, "RGB by pixel, coloured", rgb_blue_pixel, TAKEN, HUE, check_blue, {0}},
    {7, "RGB by plane, coloured", rgb_blue_plane, TAKEN, HUE, check_blue, {0}},
    {7,
     "RGB without PlanarConfiguration",
     rgb_no_planar,
     "missing_attribute",
     "(0028,0006)",
     NULL,
     0,
     NULL,
     {0}},
    {7, "YBR_FULL by plane", ybr_plane, TAKEN, HUE, check_ramp8, {0}},
    {7, "YBR_FULL_422 uncompressed", ybr_422, TAKEN, HUE, check_ramp8, {0}},
    {7, "PALETTE COLOR, 16 bits", palette, TAKEN, HUE, check_palette, {0}},
    {10, "3 frames, default", frames_3, "multi_frame", "(0028,0008)", "3 frames", 0, NULL, {0}},
    {10,
     "3 frames, first",
     frames_3,
     TAKEN,
     PN_DICOM_W_MORE_FRAMES,
     check_ramp8,
     {PN_FRAMES_FIRST, 0, false}},
    {10, "3 frames, all", frames_3, TAKEN, 0, check_all_frames, {PN_FRAMES_ALL, 0, false}},
    {11,
     "3 frames, data for one",
     frames_short,
     "pixels_truncated",
     "(7fe0,0010)",
     "192",
     0,
     NULL,
     {0}},
    {11,
     "3 frames, data for one, first",
     frames_short,
     "pixels_truncated",
     "(7fe0,0010)",
     "192",
     0,
     NULL,
     {PN_FRAMES_FIRST, 0, false}},
    {38, "HighBit 15, BitsStored 12", high_15, TAKEN, RANGE, check_ramp16, {0}},
    {38,
     "HighBit below BitsStored - 1",
     high_10,
     "bits_conflict",
     "(0028,0102)",
     NULL,
     0,
     NULL,
     {0}},
    {39,
     "garbage above BitsStored",
     high_garbage,
     TAKEN,
     RANGE | PN_DICOM_W_HIGH_GARBAGE,
     check_ramp16,
     {0}},
    {40, "padding value", padding, TAKEN, RANGE, check_padded, {0}},
    {40, "padding range", padding_range, TAKEN, RANGE, check_padded, {0}},
    {40, "padding stays black inverted", padding_inverse, TAKEN, RANGE, check_padded_inverse, {0}},
    {45, "PixelAspectRatio 2\\1", aspect, TAKEN, PN_DICOM_W_ASPECT, check_ramp8, {0}},
};

static void test_table(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) run_case(&table[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
  int rc = table_start();
  return rc ? rc : cmocka_run_group_tests(tests, NULL, table_end);
}
