/* dicom_table.h -- the case table of bad and odd inputs (specs/ingest.md 2.3, 60 rows) and its
 * runner.  test_dicom_table.c has the rows about values, test_dicom_streams.c those about
 * compressed and encoded data, test_dicom_files.c those about headers and files.  Every case builds
 * its file. */
#ifndef PN_TESTS_DICOM_TABLE_H
#define PN_TESTS_DICOM_TABLE_H

#include "data/dicom.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "dicom_bytes.h"

enum { ROWS = 8, COLUMNS = 8, PIXELS = 64 };

typedef struct {
  int row; /* of the table */
  const char *what;
  void (*build)(dicom_bytes *b);
  const char *reason, *tag, *value; /* "": accepted; value: a part of the text */
  unsigned warnings;
  void (*check)(void); /* of an accepted image; NULL: nothing more */
  pn_dicom_rules rules;
} table_case;

static pn_dicom_reader *reader;
static pn_gray image;
static pn_dicom_info info;
static pn_reject why;
static uint8_t bytes8[PIXELS * 3];
static uint8_t bytes16[PIXELS * 2];
static char path[64];

/* 8 bits: 3 i + 7. */
static inline dicom_case plain8(void) {
  for (int i = 0; i < PIXELS; i++) bytes8[i] = (uint8_t)(3 * i + 7);
  return dicom_default(bytes8, PIXELS, ROWS, COLUMNS);
}

static inline void set16(int i, unsigned v) {
  bytes16[2 * i] = (uint8_t)v;
  bytes16[2 * i + 1] = (uint8_t)(v >> 8);
}

/* 12 bits in 16: 40 i + 7. */
static inline dicom_case deep(void) {
  dicom_case c = dicom_default(bytes16, sizeof bytes16, ROWS, COLUMNS);
  for (int i = 0; i < PIXELS; i++) set16(i, (unsigned)(40 * i + 7));
  c.allocated = 16;
  c.stored = 12;
  c.high = 11;
  return c;
}

static inline double grey(int i) {
  return image.bytes_per_pixel == 1 ? ((uint8_t *)image.data)[i] : ((uint16_t *)image.data)[i];
}

static inline void near_grey(int i, double want, double tolerance) {
  if (!(fabs(grey(i) - want) <= tolerance)) fail_msg("pixel %d: %g, expected %g", i, grey(i), want);
}

/* 16 bits over min..max of a ramp: i / 63. */
static inline void check_ramp16(void) {
  assert_int_equal(image.bytes_per_pixel, 2);
  for (int i = 0; i < PIXELS; i++) near_grey(i, 65535.0 * i / (PIXELS - 1), 0.51);
}

static inline void check_ramp8(void) {
  assert_int_equal(image.bytes_per_pixel, 1);
  for (int i = 0; i < PIXELS; i++) near_grey(i, 3 * i + 7, 0);
}

/* PN_TABLE_DIR: a folder that gets every file, the seeds of tests/fuzz. */
static inline void keep_case(const table_case *c, const dicom_bytes *b) {
  static int number;
  char name[512];
  if (!getenv("PN_TABLE_DIR")) return;
  snprintf(name, sizeof name, "%s/%02d_%d_%zu.dcm", getenv("PN_TABLE_DIR"), c->row, number++, b->n);
  assert_true(dicom_save(name, b->data, b->n));
}

static inline void run_case(const table_case *c) {
  static dicom_bytes b;
  b.n = 0;
  b.encoding = EXPLICIT_LITTLE;
  c->build(&b);
  assert_true(dicom_save(path, b.data, b.n));
  keep_case(c, &b);
  pn_dicom_reader_rules(reader, &c->rules);
  if (pn_dicom_read(reader, path, &info, &image, &why) != PN_OK) fail_msg("%s", pn_last_error());
  print_message("row %2d: %-44s %s %s %s\n", c->row, c->what, why.reason[0] ? why.reason : "taken",
                why.tag, why.value);
  assert_string_equal(why.reason, c->reason);
  if (c->tag) assert_string_equal(why.tag, c->tag);
  if (c->value && !strstr(why.value, c->value)) fail_msg("'%s' lacks '%s'", why.value, c->value);
  if (why.reason[0]) return;
  assert_int_equal(info.warnings, c->warnings);
  if (c->check) c->check();
}

/* A builder: the case `start`, changed by the statements after it (c is the case). */
#define CASE(name, start, ...)                                                                     \
  static void name(dicom_bytes *b) {                                                               \
    dicom_case c = start();                                                                        \
    __VA_ARGS__;                                                                                   \
    dicom_build(b, &c);                                                                            \
  }

static inline int table_start(void) {
  snprintf(path, sizeof path, "dicom_table.%ld.dcm", (long)getpid());
  if (pn_dicom_reader_create(&reader) == PN_OK) return 0;
  printf("skipped: %s\n", pn_last_error());
  return 77;
}

static inline int table_end(void **state) {
  (void)state;
  unlink(path);
  pn_gray_free(&image);
  pn_dicom_reader_destroy(reader);
  return 0;
}

#endif
