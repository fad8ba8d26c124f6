/* test_dicom_files.c -- rows 12-17, 29-36, 41-45 and 54-60 of the table, as far as they concern one
 * file: headers, lengths, things that are no DICOM, files that cannot be read. */
#include "dicom_table.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <zlib.h>

static uint8_t longer[PIXELS + 600];

static dicom_case excess(void) {
  dicom_case c = plain8();
  memset(longer, 255, sizeof longer); /* must not be seen */
  memcpy(longer, bytes8, PIXELS);
  c.pixels = longer;
  c.pixel_bytes = sizeof longer;
  return c;
}

static dicom_case one_more(void) { /* an odd image, padded to an even length */
  dicom_case c = plain8();
  c.rows = 7;
  c.columns = 7;
  c.pixel_bytes = 49;
  return c;
}

static dicom_case huge(void) { /* 65535 x 65535 in 16 KB */
  static uint8_t data[1 << 14];
  dicom_case c = dicom_default(data, sizeof data, 65535, 65535);
  return c;
}

CASE(rows_0, plain8, c.rows = 0)
CASE(rows_missing, plain8, c.rows = -1)
CASE(no_pixels, plain8, c.pixels = NULL)
CASE(no_image, plain8, c.pixels = NULL, c.rows = -1, c.columns = -1)
CASE(pixels_short, plain8, c.pixel_bytes = PIXELS - 10)
CASE(pixels_long, excess, (void)0)
CASE(pixels_odd, one_more, (void)0)
CASE(no_mark, plain8, c.no_mark = true)
CASE(no_mark_no_rows, plain8, c.no_mark = true, c.rows = -1)
CASE(no_mark_implicit, plain8, c.no_mark = true, c.encoding = IMPLICIT_LITTLE)
CASE(size_65535, huge, (void)0)
CASE(size_16384, huge, c.rows = c.columns = 16384)
CASE(size_8192, huge, c.rows = c.columns = 8192)
CASE(age_151, plain8, c.age = "151")
CASE(age_empty, plain8, c.age = "")
CASE(burned, plain8, c.burned_in = "YES")

static void cut_in_pixels(dicom_bytes *b) {
  dicom_case c = plain8();
  dicom_build(b, &c);
  b->n -= PIXELS / 2;
}

/* 31: the mark, then the data set at once. */
static void no_group_2(dicom_bytes *b) {
  dicom_case c = plain8();
  static dicom_bytes set;
  c.no_mark = true;
  dicom_build(&set, &c);
  memset(b->data, 0, 128);
  b->n = 128;
  put(b, "DICM", 4);
  put(b, set.data, set.n);
}

static void put_overlong(dicom_bytes *b) { /* 36 */
  put_head(b, 0x0028, 0x2000, "OB", 0xFFFFFFF0u);
}
CASE(overlong, plain8, c.more = put_overlong)

static void put_private(dicom_bytes *b) { /* 41: no creator */
  put_text(b, 0x2001, 0x1001, "LO", "planted secret");
}
CASE(private_tag, plain8, c.more = put_private)

static void put_utf8(dicom_bytes *b) { /* 42 */
  put_text(b, 0x0008, 0x0005, "CS", "ISO_IR 192");
  put_text(b, 0x0010, 0x4000, "LT", "J\xC3\xBCrgen \xE5\xB1\xB1\xE7\x94\xB0");
}
CASE(utf8, plain8, c.more = put_utf8)

static void check_private(void) {
  const char *at = (const char *)&info;
  check_ramp8();
  for (size_t i = 0; i + 7 < sizeof info; i++) assert_true(memcmp(at + i, "planted", 7) != 0);
}

static void check_no_age(void) {
  check_ramp8();
  assert_int_equal(info.age_years, -1);
}

/* --- no DICOM at all */
#define MAGIC(name, text)                                                                          \
  static void name(dicom_bytes *b) {                                                               \
    static const char magic[200] = text;                                                           \
    put(b, magic, sizeof magic);                                                                   \
  }
MAGIC(text_file, "patientId,x,y,width,height,Target\n")
MAGIC(png, "\x89PNG\r\n\x1A\n")
MAGIC(jpeg, "\xFF\xD8\xFF\xE0")
MAGIC(gzip, "\x1F\x8B\x08")
MAGIC(zip, "PK\x03\x04")
MAGIC(apple_double, "\x00\x05\x16\x07")
static void empty(dicom_bytes *b) {
  (void)b;
}

enum { BARE = PN_DICOM_W_NO_META, AGE = PN_DICOM_W_ODD_AGE };
#define TAKEN   "", "", NULL
#define PIXELS_ "(7fe0,0010)"

static const table_case table[] = {
    {12, "Rows 0", rows_0, "bad_dimensions", "(0028,0010)", "0 x 8", 0, NULL, {0}},
    {13, "Rows missing", rows_missing, "missing_attribute", "(0028,0010)", "Rows", 0, NULL, {0}},
    {14, "no PixelData", no_pixels, "missing_attribute", PIXELS_, "PixelData", 0, NULL, {0}},
    {14, "a report: no image at all", no_image, "not_an_image", PIXELS_, NULL, 0, NULL, {0}},
    {15,
     "PixelData too short",
     pixels_short,
     "pixels_truncated",
     PIXELS_,
     "54 bytes, expected 64",
     0,
     NULL,
     {0}},
    {16,
     "PixelData 600 bytes longer",
     pixels_long,
     TAKEN,
     PN_DICOM_W_EXCESS_PIXELS,
     check_ramp8,
     {0}},
    {16, "one byte of padding", pixels_odd, TAKEN, 0, NULL, {0}},
    {17, "file cut inside the pixels", cut_in_pixels, "truncated_file", "", NULL, 0, NULL, {0}},
    {29, "no preamble, no meta group, explicit", no_mark, TAKEN, BARE, check_ramp8, {0}},
    {30, "the same, implicit", no_mark_implicit, TAKEN, BARE, check_ramp8, {0}},
    {30, "the same, without Rows", no_mark_no_rows, "not_dicom", "", NULL, 0, NULL, {0}},
    {31, "DICM, but no group 2", no_group_2, TAKEN, BARE, check_ramp8, {0}},
    {32, "empty file", empty, "empty_file", "", NULL, 0, NULL, {0}},
    {33, "text", text_file, "not_dicom", "", NULL, 0, NULL, {0}},
    {33, "PNG", png, "not_dicom", "", "looks like PNG", 0, NULL, {0}},
    {33, "JPEG", jpeg, "not_dicom", "", "looks like JPEG", 0, NULL, {0}},
    {35, "65535 x 65535 in 16 KB", size_65535, "bad_dimensions", "(0028,0010)", NULL, 0, NULL, {0}},
    {35,
     "16384 x 16384 in 16 KB",
     size_16384,
     "bad_dimensions",
     "(0028,0010)",
     "at most",
     0,
     NULL,
     {0}},
    {35, "8192 x 8192 in 16 KB", size_8192, "pixels_truncated", PIXELS_, "67108864", 0, NULL, {0}},
    {36, "element of length 0xFFFFFFF0", overlong, "truncated_file", "", NULL, 0, NULL, {0}},
    {41, "private tag without creator", private_tag, TAKEN, 0, check_private, {0}},
    {42, "UTF-8 names", utf8, TAKEN, 0, check_ramp8, {0}},
    {43, "age 151", age_151, TAKEN, AGE, check_no_age, {0}},
    {43, "age empty", age_empty, TAKEN, AGE, check_no_age, {0}},
    {44, "burned-in annotation, warn", burned, TAKEN, PN_DICOM_W_BURNED_IN, check_ramp8, {0}},
    {44,
     "burned-in annotation, reject",
     burned,
     "burned_in_annotation",
     "(0028,0301)",
     NULL,
     0,
     NULL,
     {.reject_burned_in = true}},
    {58, "AppleDouble", apple_double, "junk_file", "", NULL, 0, NULL, {0}},
    {60, "gzip", gzip, "not_dicom", "", "gunzip", 0, NULL, {0}},
    {60, "zip", zip, "not_dicom", "", "unzip", 0, NULL, {0}},
};

static void test_table(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) run_case(&table[i]);
}

/* 17, 19: cut anywhere. */
static void test_cut_anywhere(void **state) {
  static dicom_bytes b;
  dicom_case c = plain8();
  (void)state;
  dicom_build(&b, &c);
  for (size_t cut = 0; cut < b.n; cut += 7) {
    assert_true(dicom_save(path, b.data, cut));
    assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
    if (!why.reason[0]) fail_msg("cut at %zu of %zu was accepted", cut, b.n);
  }
}

static void expect_reason(const char *reason) {
  assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
  assert_string_equal(why.reason, reason);
}

/* 34, 54: folders, links, FIFOs; nothing blocks. */
static void test_odd_paths(void **state) {
  (void)state;
  unlink(path);
  expect_reason("file_vanished");
  assert_int_equal(mkdir(path, 0700), 0);
  expect_reason("directory"); /* 34 */
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(mkfifo(path, 0600), 0);
  expect_reason("not_a_regular_file");
  unlink(path);
  assert_int_equal(symlink(path, path), 0);
  expect_reason("link_loop");
  unlink(path);
  assert_int_equal(symlink("nowhere at all", path), 0);
  expect_reason("file_vanished"); /* a dangling link */
  unlink(path);
}

/* 54: no permission.  Root may read anything, so a child gives that up. */
static void test_unreadable(void **state) {
  int status = 0;
  pid_t pid;
  (void)state;
  assert_true(dicom_save(path, "x", 1));
  assert_int_equal(chmod(path, 0), 0);
  if ((pid = fork()) == 0) {
    if (getuid() == 0 && setuid(65534) != 0) _exit(3);
    if (pn_dicom_read(reader, path, &info, &image, &why) != PN_OK) _exit(2);
    _exit(strcmp(why.reason, "permission_denied") != 0);
  }
  assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
  assert_int_equal(status, 0);
  unlink(path);
}

/* 56: the file grows between the first fstat and the last. */
static void test_changing(void **state) {
  static dicom_bytes b;
  dicom_case c = plain8();
  int changed = 0, status = 0;
  pid_t pid;
  (void)state;
  dicom_build(&b, &c);
  assert_true(dicom_save(path, b.data, b.n));
  if ((pid = fork()) == 0) { /* touches the file all the time */
    for (;;) {
      int fd = open(path, O_WRONLY | O_APPEND);
      if (fd < 0 || write(fd, "", 1) != 1 || close(fd) != 0) _exit(1);
    }
  }
  for (int i = 0; i < 20000 && !changed; i++) {
    assert_int_equal(pn_dicom_read(reader, path, &info, &image, &why), PN_OK);
    changed = strcmp(why.reason, "file_changed") == 0;
  }
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(changed);
}

/* 59: without a data dictionary the reader does not start, unless this DCMTK has one built in. */
static void test_dictionary(void **state) {
  int status = 0;
  pid_t pid;
  (void)state;
  if ((pid = fork()) == 0) {
    setenv("DCMDICTPATH", "/nonexistent/dicom.dic", 1);
    execl("/proc/self/exe", "test_dicom_files", "dictionary", (char *)NULL);
    _exit(9);
  }
  assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
  assert_int_equal(status, 0);
}

/* A deflated data set of 300 MB in 300 KB: refused before it is inflated into memory. */
static void test_deflate_bomb(void **state) {
  static const size_t size = (size_t)300 << 20;
  static dicom_bytes b;
  dicom_case c = plain8();
  z_stream z = {0};
  static unsigned char zeros[1 << 16], out[1 << 22];
  (void)state;
  c.syntax = "1.2.840.10008.1.2.1.99";
  c.pixels = NULL;
  b.n = 0;
  b.encoding = EXPLICIT_LITTLE;
  put_meta(&b, &c);
  z.next_out = out;
  z.avail_out = sizeof out;
  assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  for (size_t n = 0; n < size; n += sizeof zeros) {
    z.next_in = zeros;
    z.avail_in = sizeof zeros;
    assert_int_equal(deflate(&z, n + sizeof zeros < size ? Z_NO_FLUSH : Z_FINISH) < 0, 0);
  }
  memmove(out + b.n, out, sizeof out - z.avail_out);
  memcpy(out, b.data, b.n);
  assert_true(dicom_save(path, out, b.n + sizeof out - z.avail_out));
  deflateEnd(&z);
  expect_reason("file_too_large");
}

static int dictionary_child(void) {
  pn_dicom_reader *r = NULL;
  if (pn_dicom_reader_create(&r) == PN_OK) {
    printf("this DCMTK has its dictionary built in\n");
    pn_dicom_reader_destroy(r);
    return 0;
  }
  return strstr(pn_last_error(), "DCMDICTPATH") == NULL;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),        cmocka_unit_test(test_cut_anywhere),
      cmocka_unit_test(test_odd_paths),    cmocka_unit_test(test_unreadable),
      cmocka_unit_test(test_changing),     cmocka_unit_test(test_dictionary),
      cmocka_unit_test(test_deflate_bomb),
  };
  int rc;
  if (argc > 1 && strcmp(argv[1], "dictionary") == 0) return dictionary_child();
  rc = table_start();
  return rc ? rc : cmocka_run_group_tests(tests, NULL, table_end);
}
