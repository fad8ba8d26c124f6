/* test_events.c -- TensorBoard files: records, checksums and fields as the formats say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/file.h"
#include "train/events.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t little(const uint8_t *p, int n) {
  uint64_t x = 0;
  for (int i = n; i-- > 0;) x = x << 8 | p[i];
  return x;
}

/* The CRC of a TFRecord with its mask undone. */
static uint32_t unmask(uint32_t x) {
  uint32_t rot = x - 0xa282ead8u;
  return rot >> 17 | rot << 15;
}

/* Checks one record; its data and, through *at, the place behind it. */
static const uint8_t *record(const uint8_t *file, size_t *at, size_t *n) {
  const uint8_t *p = file + *at;
  *n = (size_t)little(p, 8);
  assert_int_equal(unmask((uint32_t)little(p + 8, 4)), pn_crc32c(0, p, 8));
  assert_int_equal(unmask((uint32_t)little(p + 12 + *n, 4)), pn_crc32c(0, p + 12, *n));
  *at += 16 + *n;
  return p + 12;
}

static char *only_file(const char *folder, size_t *bytes) {
  char path[600], *text = NULL;
  DIR *d = opendir(folder);
  struct dirent *e;

  while ((e = readdir(d)) != NULL)
    if (strncmp(e->d_name, "events.out.tfevents.", 20) == 0) break;
  assert_non_null(e);
  snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
  closedir(d);
  assert_int_equal(pn_file_read(path, &text, bytes), PN_OK);
  assert_int_equal(unlink(path), 0);
  return text;
}

static void test_records(void **state) {
  char folder[] = "/tmp/pn_events_XXXXXX";
  pn_events *e = NULL;
  size_t bytes, at = 0, n;
  char *text;
  const uint8_t *file, *p;

  (void)state;
  assert_non_null(mkdtemp(folder));
  assert_int_equal(pn_events_open(folder, 7, &e), PN_OK);
  pn_events_scalar(e, "loss/train", 300, 0.5);
  pn_events_scalar(e, "nothing", 301, (double)NAN);
  assert_int_equal(pn_events_flush(e), PN_OK);
  pn_events_close(e);
  text = only_file(folder, &bytes);
  file = (const uint8_t *)text;
  p = record(file, &at, &n); /* time, step 0, "brain.Event:2" */
  assert_memory_equal(p + 9,
                      "\x10\x00\x1a\x0d"
                      "brain.Event:2",
                      17);
  assert_int_equal(n, 26);
  p = record(file, &at, &n); /* step 8, session_log {status: START} */
  assert_memory_equal(p + 9, "\x10\x08\x3a\x02\x08\x01", 6);
  p = record(file, &at, &n); /* step 300 = ac 02; summary {value {tag, simple_value 0.5}} */
  assert_memory_equal(p + 9, "\x10\xac\x02\x2a\x13\x0a\x11\x0a\x0aloss/train\x15\x00\x00\x00\x3f",
                      24);
  assert_int_equal(at, bytes); /* the NaN is left out */
  free(text);
  assert_int_equal(rmdir(folder), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_records)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
