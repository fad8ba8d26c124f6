/* test_dicom_streams.c -- rows 8, 9, 18-28, 37 and 46 of the table: compressed pixels, transfer
 * syntaxes, and what happens when the two do not fit. */
#include "dicom_table.h"

#include "data/jpeg2000.h"
#include "data/jpeg_encode.h"
#include "dicom_streams.h"

#include <jpeglib.h>

enum { SIDE = 32 };
#define LOSSLESS   "1.2.840.10008.1.2.4.57"
#define EXTENDED   "1.2.840.10008.1.2.4.51"
#define JPEG_LS    "1.2.840.10008.1.2.4.80"
#define JPEG_2000  "1.2.840.10008.1.2.4.90"
#define RLE        "1.2.840.10008.1.2.5"
#define BIG_SYNTAX "1.2.840.10008.1.2.2"
#define IMPLICIT   "1.2.840.10008.1.2"
#define DEFLATE    "1.2.840.10008.1.2.1.99"

static uint8_t stream[1 << 14];

/* --- JPEG of 8 bits, made here */
static dicom_case jpeg_of(size_t n, int samples) {
  dicom_case c = dicom_default(stream, n, SIDE, SIDE);
  c.syntax = JPEG_SYNTAX;
  c.encapsulated = true;
  c.samples = samples;
  if (samples == 3) c.photometric = "YBR_FULL_422";
  if (samples == 3) c.planar_plus_1 = 1;
  return c;
}

static dicom_case jpeg_grey(void) { /* 4 x + 2 y */
  uint8_t pixels[SIDE * SIDE], *jpeg = NULL;
  size_t n = 0;
  for (int i = 0; i < SIDE * SIDE; i++) pixels[i] = (uint8_t)(i % SIDE * 4 + i / SIDE * 2);
  assert_int_equal(pn_jpeg_encode_grey(pixels, SIDE, SIDE, 95, &jpeg, &n), PN_OK);
  assert_true(n <= sizeof stream);
  memcpy(stream, jpeg, n);
  free(jpeg);
  return jpeg_of(n, 1);
}

/* Colour with 4:2:2 chroma, or progressive grey. */
static size_t encode(bool colour) {
  struct jpeg_compress_struct z;
  struct jpeg_error_mgr errors;
  unsigned char *out = NULL;
  unsigned long n = 0;
  uint8_t line[3 * SIDE];
  JSAMPROW rows[1] = {line};

  z.err = jpeg_std_error(&errors);
  jpeg_create_compress(&z);
  jpeg_mem_dest(&z, &out, &n);
  z.image_width = z.image_height = SIDE;
  z.input_components = colour ? 3 : 1;
  z.in_color_space = colour ? JCS_YCbCr : JCS_GRAYSCALE;
  jpeg_set_defaults(&z);
  jpeg_set_quality(&z, 95, TRUE);
  if (colour) z.comp_info[0].h_samp_factor = 2, z.comp_info[0].v_samp_factor = 1;
  if (!colour) jpeg_simple_progression(&z);
  jpeg_start_compress(&z, TRUE);
  for (int y = 0; y < SIDE; y++) {
    for (int x = 0; x < SIDE; x++) {
      int grey_value = 4 * x + 2 * y;
      if (!colour) line[x] = (uint8_t)grey_value;
      if (!colour) continue;
      line[3 * x] = (uint8_t)grey_value;
      line[3 * x + 1] = 100;
      line[3 * x + 2] = 160;
    }
    jpeg_write_scanlines(&z, rows, 1);
  }
  jpeg_finish_compress(&z);
  jpeg_destroy_compress(&z);
  assert_true(n <= sizeof stream);
  memcpy(stream, out, n);
  free(out);
  return n;
}

static dicom_case jpeg_colour(void) {
  return jpeg_of(encode(true), 3);
}

static dicom_case jpeg_progressive(void) {
  return jpeg_of(encode(false), 1);
}

static void check_jpeg(void) {
  assert_int_equal(image.height, SIDE);
  for (int i = 0; i < SIDE * SIDE; i++) near_grey(i, i % SIDE * 4 + i / SIDE * 2, 4);
}

CASE(colour_422, jpeg_colour, (void)0)
CASE(colour_as_grey, jpeg_colour, c.samples = 1, c.photometric = "MONOCHROME2")
CASE(grey_as_colour, jpeg_grey, c.samples = 3, c.photometric = "RGB", c.planar_plus_1 = 1)
CASE(jpeg_half, jpeg_grey, c.pixel_bytes /= 2)
CASE(jpeg_not, jpeg_grey, memcpy(stream, "This is text", 12))
CASE(jpeg_size, jpeg_grey, c.rows = 128, c.columns = 128)
CASE(jpeg_two, jpeg_grey, c.split = c.pixel_bytes / 3 & ~(size_t)1)
CASE(progressive, jpeg_progressive, (void)0)
CASE(raw_as_jpeg, plain8, c.syntax = JPEG_SYNTAX)
CASE(jpeg_as_raw, jpeg_grey, c.syntax = RAW_SYNTAX, c.encapsulated = false)
CASE(jpeg_12_in_16, jpeg_grey, c.allocated = 16, c.stored = 12, c.high = 11)
CASE(unknown, plain8, c.syntax = "1.2.3.4.5")
CASE(ht_j2k, jpeg_grey, c.syntax = "1.2.840.10008.1.2.4.201")
CASE(mpeg, jpeg_grey, c.syntax = "1.2.840.10008.1.2.4.100")

static void cut_fragment(dicom_bytes *b) { /* 19 */
  dicom_case c = jpeg_grey();
  dicom_build(b, &c);
  b->n -= c.pixel_bytes / 2;
}

/* --- uncompressed encodings: 27 */
CASE(implicit, deep, c.syntax = IMPLICIT, c.encoding = IMPLICIT_LITTLE)
CASE(big, deep, c.syntax = BIG_SYNTAX, c.encoding = EXPLICIT_BIG)
CASE(big8, plain8, c.syntax = BIG_SYNTAX, c.encoding = EXPLICIT_BIG)
CASE(deflated, deep, c.syntax = DEFLATE, c.encoding = DEFLATED)

static void deflate_cut(dicom_bytes *b) {
  dicom_case c = deep();
  c.syntax = DEFLATE;
  c.encoding = DEFLATED;
  dicom_build(b, &c);
  b->n -= sizeof bytes16 / 2;
}

/* --- RLE: one literal run per segment, high bytes first */
static void word_at(size_t at, size_t v) {
  for (int k = 0; k < 4; k++) stream[at + (size_t)k] = (uint8_t)(v >> 8 * k);
}

static dicom_case rle(void) {
  dicom_case c = deep();
  memset(stream, 0, 64);
  word_at(0, 2);
  for (int s = 0; s < 2; s++) {
    size_t at = 64 + (size_t)s * (1 + PIXELS + 1); /* padded to an even length */
    word_at(4 + 4 * (size_t)s, at);
    stream[at] = PIXELS - 1;
    for (int i = 0; i < PIXELS; i++) stream[at + 1 + (size_t)i] = bytes16[2 * i + 1 - s];
    stream[at + 1 + PIXELS] = 128; /* no operation */
  }
  c.pixels = stream;
  c.pixel_bytes = 64 + 2 * (PIXELS + 2);
  c.syntax = RLE;
  c.encapsulated = true;
  return c;
}

CASE(rle_12, rle, (void)0)
CASE(rle_short, rle, c.pixel_bytes -= 40)
CASE(rle_segments, rle, word_at(0, 15))

/* --- streams that others made */
static dicom_case coded(const char *syntax, const uint8_t *data, size_t n) {
  dicom_case c = deep();
  c.pixels = data;
  c.pixel_bytes = n;
  c.syntax = syntax;
  c.encapsulated = true;
  return c;
}

static dicom_case coded_rgb(const char *syntax, const uint8_t *data, size_t n) {
  dicom_case c = coded(syntax, data, n);
  c.photometric = "RGB";
  c.samples = 3;
  c.allocated = c.stored = 8;
  c.high = 7;
  c.planar_plus_1 = 1;
  return c;
}

#define STREAM(name, make, syntax)                                                                 \
  static dicom_case name(void) {                                                                   \
    return make(syntax, stream_##name, sizeof stream_##name);                                      \
  }
STREAM(lossless, coded, LOSSLESS)
STREAM(ext12, coded, EXTENDED)
STREAM(jls, coded, JPEG_LS)
STREAM(j2k, coded, JPEG_2000)
STREAM(jlsc, coded_rgb, JPEG_LS)
STREAM(llc, coded_rgb, LOSSLESS)
STREAM(j2k_rgb, coded_rgb, JPEG_2000)

CASE(code_lossless, lossless, (void)0)
CASE(code_extended, ext12, (void)0)
CASE(code_jls, jls, (void)0)
CASE(code_jls_rgb, jlsc, (void)0)
CASE(code_lossless_rgb, llc, (void)0)
CASE(jls_half, jls, c.pixel_bytes /= 2)
CASE(jls_size, jls, c.rows = 16)
CASE(jls_8, jls, c.allocated = c.stored = 8, c.high = 7)
CASE(code_j2k, j2k, c.stored = 16, c.high = 15)
CASE(code_j2k_rgb, j2k_rgb, c.photometric = "YBR_RCT")
CASE(j2k_half, j2k, c.stored = 16, c.high = 15, c.pixel_bytes /= 2)
CASE(j2k_size, j2k, c.stored = 16, c.high = 15, c.rows = 16)
CASE(j2k_noise, j2k, c.pixels += 20, c.pixel_bytes -= 20)

static void check_extended(void) { /* a lossy process: within 2 % */
  for (int i = 0; i < PIXELS; i++) near_grey(i, 65535.0 * i / 63, 1300);
}

static void check_rgb(void) {
  for (int i = 0; i < PIXELS; i++)
    near_grey(i, 0.299 * (3 * i + 7) + 0.587 * (200 - i) + 0.114 * i, 0.51);
}

enum { RANGE = PN_DICOM_W_MIN_MAX, HUE = PN_DICOM_W_COLOUR };
#define TAKEN   "", "", NULL
#define PIXELS_ "(7fe0,0010)"
#define SYNTAX_ "(0002,0010)"

static const table_case table[] = {
    {8, "JPEG colour, 4:2:2", colour_422, TAKEN, HUE, check_jpeg, {0}},
    {9,
     "3 components under MONOCHROME2",
     colour_as_grey,
     "jpeg_components",
     PIXELS_,
     "3 comp",
     0,
     NULL,
     {0}},
    {9,
     "1 component under RGB",
     grey_as_colour,
     "jpeg_components",
     PIXELS_,
     "1 comp",
     0,
     NULL,
     {0}},
    {18, "JPEG fragment cut in half", jpeg_half, "jpeg_corrupt", PIXELS_, NULL, 0, NULL, {0}},
    {19, "file cut inside a fragment", cut_fragment, "truncated_file", "", NULL, 0, NULL, {0}},
    {20, "fragment is not JPEG", jpeg_not, "jpeg_no_soi", PIXELS_, NULL, 0, NULL, {0}},
    {21, "JPEG 32x32, tags 128x128", jpeg_size, "size_conflict", PIXELS_, "128x128", 0, NULL, {0}},
    {22, "one frame in two fragments", jpeg_two, TAKEN, 0, check_jpeg, {0}},
    {23, "progressive JPEG under .50", progressive, TAKEN, PN_DICOM_W_PROGRESSIVE, check_jpeg, {0}},
    {24, "syntax says JPEG, data raw", raw_as_jpeg, "corrupt_file", NULL, NULL, 0, NULL, {0}},
    {25,
     "syntax says raw, data JPEG",
     jpeg_as_raw,
     "pixels_truncated",
     PIXELS_,
     "starts like JPEG",
     0,
     NULL,
     {0}},
    {27, "implicit little endian", implicit, TAKEN, RANGE, check_ramp16, {0}},
    {27, "big endian, 16 bits", big, TAKEN, RANGE, check_ramp16, {0}},
    {27, "big endian, 8 bits", big8, TAKEN, 0, check_ramp8, {0}},
    {27, "deflated", deflated, TAKEN, RANGE, check_ramp16, {0}},
    {27, "deflated, cut", deflate_cut, "truncated_file", "", NULL, 0, NULL, {0}},
    {28, "unknown syntax UID", unknown, "unknown_syntax", SYNTAX_, "1.2.3.4.5", 0, NULL, {0}},
    {28, "HTJ2K", ht_j2k, "unsupported_syntax", SYNTAX_, "4.201 not built in", 0, NULL, {0}},
    {28, "MPEG2", mpeg, "unsupported_syntax", SYNTAX_, "4.100 not built in", 0, NULL, {0}},
    {37,
     "JPEG of 8 bits, tags say 12 in 16",
     jpeg_12_in_16,
     "bits_conflict",
     "(0028,0101)",
     "8 bits",
     0,
     NULL,
     {0}},
    {37,
     "JPEG-LS of 16 bits, tags say 8",
     jls_8,
     "bits_conflict",
     "(0028,0101)",
     "16 bits",
     0,
     NULL,
     {0}},
    {0, "RLE, 12 bits", rle_12, TAKEN, RANGE, check_ramp16, {0}},
    {0, "RLE cut", rle_short, "pixels_truncated", PIXELS_, NULL, 0, NULL, {0}},
    {0, "RLE of 15 segments", rle_segments, "decode_error", PIXELS_, NULL, 0, NULL, {0}},
    {0, "JPEG lossless, 12 bits", code_lossless, TAKEN, RANGE, check_ramp16, {0}},
    {0, "JPEG extended, 12 bits", code_extended, TAKEN, RANGE, check_extended, {0}},
    {0, "JPEG-LS, 12 bits", code_jls, TAKEN, RANGE, check_ramp16, {0}},
    {0, "JPEG lossless, RGB", code_lossless_rgb, TAKEN, HUE, check_rgb, {0}},
    {0, "JPEG-LS, RGB", code_jls_rgb, TAKEN, HUE, check_rgb, {0}},
    {0, "JPEG-LS cut in half", jls_half, "decode_error", PIXELS_, NULL, 0, NULL, {0}},
    {0, "JPEG-LS 8x8, tags 16x8", jls_size, "size_conflict", PIXELS_, "16x8", 0, NULL, {0}},
};

static const table_case with_openjpeg[] = {
    {26, "JPEG 2000, 16 bits", code_j2k, TAKEN, RANGE, check_ramp16, {0}},
    {26, "JPEG 2000, RGB with transform", code_j2k_rgb, TAKEN, HUE, check_rgb, {0}},
    {26, "JPEG 2000 cut in half", j2k_half, "jpeg_corrupt", PIXELS_, NULL, 0, NULL, {0}},
    {26, "JPEG 2000 8x8, tags 16x8", j2k_size, "size_conflict", PIXELS_, "16x8", 0, NULL, {0}},
    {26, "JPEG 2000 without its start", j2k_noise, "jpeg_corrupt", PIXELS_, NULL, 0, NULL, {0}},
};

static const table_case without_openjpeg[] = {
    {26,
     "JPEG 2000, not built in",
     code_j2k,
     "unsupported_syntax",
     SYNTAX_,
     "4.90 not built in",
     0,
     NULL,
     {0}},
};

static void test_table(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) run_case(&table[i]);
}

static void test_jpeg2000(void **state) {
  bool built = strcmp(pn_jpeg2000_library(), "none") != 0;
  const table_case *t = built ? with_openjpeg : without_openjpeg;
  size_t n = built ? sizeof with_openjpeg / sizeof *t : sizeof without_openjpeg / sizeof *t;
  (void)state;
  for (size_t i = 0; i < n; i++) run_case(&t[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_jpeg2000)};
  int rc = table_start();
  return rc ? rc : cmocka_run_group_tests(tests, NULL, table_end);
}
