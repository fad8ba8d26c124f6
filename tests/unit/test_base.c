/* test_base.c -- generator, digests, files and status against published values. */
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Random123, tests/kat_vectors: philox4x32, 10 rounds. */
static void philox_known_answers(void **state) {
  (void)state;
  const struct {
    uint32_t counter[4], key[2], want[4];
  } rows[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  uint32_t out[4];

  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
    pn_philox(rows[k].counter, rows[k].key, out);
    assert_memory_equal(out, rows[k].want, sizeof out);
  }
}

static void streams_do_not_share_numbers(void **state) {
  (void)state;
  pn_rng base = pn_rng_make(1, PN_RNG_INIT, 5, 6), again = base;
  pn_rng others[] = {pn_rng_make(2, PN_RNG_INIT, 5, 6), pn_rng_make(1, PN_RNG_SHUFFLE, 5, 6),
                     pn_rng_make(1, PN_RNG_INIT, 4, 6), pn_rng_make(1, PN_RNG_INIT, 5, 7),
                     pn_rng_make(1, PN_RNG_INIT, 5 + ((uint64_t)1 << 32), 6)};
  uint32_t first[8], x;

  for (int i = 0; i < 8; i++) first[i] = pn_rng_u32(&base);
  for (int i = 0; i < 8; i++) assert_int_equal(pn_rng_u32(&again), first[i]);
  for (size_t k = 0; k < sizeof others / sizeof *others; k++)
    for (int i = 0; i < 8; i++) {
      x = pn_rng_u32(&others[k]);
      for (int j = 0; j < 8; j++) assert_int_not_equal(x, first[j]);
    }
}

static void distributions_have_their_moments(void **state) {
  (void)state;
  enum { N = 100000 };
  pn_rng r = pn_rng_make(3, PN_RNG_TEST, 0, 0);
  double u = 0, g = 0, g2 = 0, x;
  int bins[7] = {0};

  for (int i = 0; i < N; i++) {
    float f = pn_rng_uniform(&r);
    assert_true(f >= 0 && f < 1);
    u += (double)f / N;
    x = pn_rng_normal(&r);
    g += x / N;
    g2 += x * x / N;
    bins[pn_rng_below(&r, 7)]++;
    x = pn_rng_range(&r, -2, 5);
    assert_true(x >= -2 && x < 5);
  }
  assert_true(fabs(u - 0.5) < 0.004 && fabs(g) < 0.013 && fabs(g2 - 1) < 0.018);
  for (int b = 0; b < 7; b++) assert_true(abs(bins[b] - N / 7) < 450); /* 4 sigma */
}

static void crc32c_check_value(void **state) {
  (void)state;
  uint8_t zeros[32] = {0}, ones[32], up[32];

  memset(ones, 0xff, sizeof ones);
  for (int i = 0; i < 32; i++) up[i] = (uint8_t)i;
  assert_int_equal(pn_crc32c(0, "123456789", 9), 0xE3069283);
  assert_int_equal(pn_crc32c(0, zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
  assert_int_equal(pn_crc32c(0, ones, 32), 0x62A8AB43);
  assert_int_equal(pn_crc32c(0, up, 32), 0x46DD794E);
  assert_int_equal(pn_crc32c(0, "", 0), 0);
  for (size_t cut = 0; cut <= 32; cut++) /* in two parts, at every alignment */
    assert_int_equal(pn_crc32c(pn_crc32c(0, up, cut), up + cut, 32 - cut), 0x46DD794E);
}

/* FIPS 180-4 examples. */
static void sha256_known_answers(void **state) {
  (void)state;
  pn_sha256 *s;
  char hex[65];

  assert_int_equal(pn_sha256_create(&s), PN_OK);
  pn_sha256_update(s, "a", 1);
  pn_sha256_update(s, "bc", 2);
  pn_sha256_hex(s, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  pn_sha256_destroy(s);
  assert_int_equal(pn_sha256_create(&s), PN_OK);
  pn_sha256_hex(s, hex);
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  pn_sha256_destroy(s);
  pn_sha256_destroy(NULL);
}

static char folder[64];

static int make_folder(void **state) {
  (void)state;
  strcpy(folder, "/tmp/pn_base_XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
  char command[96];
  (void)state;
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static void in_folder(char *out, size_t bytes, const char *name) {
  assert_int_equal(pn_path_join(out, bytes, folder, name), PN_OK);
}

static void files_are_published_whole(void **state) {
  (void)state;
  char path[128], tmp[160], *text = NULL;
  size_t bytes = 0;

  in_folder(path, sizeof path, "a.txt");
  assert_int_equal(pn_file_write(path, "first", 5), PN_OK);
  assert_int_equal(pn_file_write(path, "second\0x", 8), PN_OK); /* replaces */
  assert_int_equal(pn_file_read(path, &text, &bytes), PN_OK);
  assert_int_equal(bytes, 8);
  assert_memory_equal(text, "second\0x", 9); /* and a NUL behind it */
  snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid());
  assert_false(pn_file_exists(tmp));
  free(text);
  in_folder(tmp, sizeof tmp, "b.tmp");
  assert_int_equal(pn_file_write(tmp, "", 0), PN_OK);
  assert_int_equal(pn_file_publish(tmp, path), PN_OK);
  assert_false(pn_file_exists(tmp));
  assert_int_equal(pn_file_read(path, &text, NULL), PN_OK);
  assert_string_equal(text, "");
  free(text);
}

static void file_errors_name_the_path(void **state) {
  (void)state;
  char path[128], dir[128], *text = NULL;

  in_folder(path, sizeof path, "missing");
  assert_int_equal(pn_file_read(path, &text, NULL), PN_ERR_IO);
  assert_null(text);
  assert_non_null(strstr(pn_last_error(), path));
  assert_int_equal(pn_file_read(folder, &text, NULL), PN_ERR_IO);
  assert_int_equal(pn_file_publish(path, path), PN_ERR_IO);
  in_folder(dir, sizeof dir, "no/such/folder/x");
  assert_int_equal(pn_file_write(dir, "x", 1), PN_ERR_IO);
  in_folder(path, sizeof path, "fifo"); /* opening a pipe must not hang */
  assert_int_equal(mkfifo(path, 0600), 0);
  assert_int_equal(pn_file_read(path, &text, NULL), PN_ERR_IO);
}

static void folders_are_made(void **state) {
  (void)state;
  char path[128], file[128];

  in_folder(path, sizeof path, "x//y/z/");
  assert_int_equal(pn_make_dirs(path), PN_OK);
  assert_int_equal(pn_make_dirs(path), PN_OK);
  assert_true(pn_file_exists(path));
  in_folder(file, sizeof file, "file");
  assert_int_equal(pn_file_write(file, "x", 1), PN_OK);
  assert_int_equal(pn_make_dirs(file), PN_ERR_IO);
  in_folder(path, sizeof path, "file/below");
  assert_int_equal(pn_make_dirs(path), PN_ERR_IO);
  assert_int_equal(pn_make_dirs(""), PN_ERR_ARG);
  assert_int_equal(pn_path_join(path, 8, "0123456", "x"), PN_ERR_ARG);
  assert_int_equal(pn_path_join(path, 10, "0123456", "x"), PN_OK);
}

static void *fail_in_a_thread(void *unused) {
  (void)unused;
  return (void *)(intptr_t)PN_FAIL(PN_ERR_NOMEM, "elsewhere");
}

static void status_records_the_cause(void **state) {
  (void)state;
  pthread_t t;

  assert_int_equal(PN_FAIL(PN_ERR_IO, "cannot open %s", "x.h5"), PN_ERR_IO);
  assert_non_null(strstr(pn_last_error(), "test_base.c:"));
  assert_non_null(strstr(pn_last_error(), ": cannot open x.h5"));
  assert_int_equal(pthread_create(&t, NULL, fail_in_a_thread, NULL), 0);
  assert_int_equal(pthread_join(t, NULL), 0);
  assert_non_null(strstr(pn_last_error(), "x.h5")); /* each thread has its own */
  pn_error_set_agreed();
  assert_true(pn_error_agreed());
  PN_FAIL(PN_ERR_IO, "again: %s", pn_last_error()); /* may quote itself */
  assert_non_null(strstr(pn_last_error(), "x.h5"));
  assert_false(pn_error_agreed());
}

static void exit_codes_and_names(void **state) {
  (void)state;
  assert_int_equal(pn_status_exit_code(PN_OK), 0);
  assert_int_equal(pn_status_exit_code(PN_ERR_ARG), 2);
  assert_int_equal(pn_status_exit_code(PN_ERR_TIMEOUT), 4);
  assert_int_equal(pn_status_exit_code(PN_ERR_PEER), 1);
  assert_int_equal(pn_status_exit_code(PN_ERR_NUMERIC), 1);
  assert_string_equal(pn_status_name(PN_ERR_ARG), "argument");
  assert_string_equal(pn_status_name(PN_ERR_NUMERIC), "numeric");
  assert_string_equal(pn_status_name((pn_status)99), "unknown");
}

static void clock_runs(void **state) {
  (void)state;
  char text[32];
  double start = pn_now(), age = pn_process_age(), cpu = pn_cpu_now();
  double aged, took;

  pn_sleep(0.02);
  assert_true(pn_cpu_now() - cpu < 0.015); /* asleep */
  while (pn_cpu_now() - cpu < 0.02) continue;
  aged = pn_process_age() - age;
  took = pn_now() - start;
  assert_true(age >= 0 && age < 250 && aged > 0.015 && aged < took + 0.02);
  assert_true(took >= 0.02 && took < 5);
  pn_utc_text(text, sizeof text);
  assert_int_equal(strlen(text), 20);
  assert_true(text[4] == '-' && text[10] == 'T' && text[19] == 'Z');
}

/* Long data take three lanes at once: any length and any start give what single bytes give. */
static void test_crc_long(void **state) {
  static uint8_t data[20000];
  (void)state;

  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * i / 7 + i);
  for (size_t n = 0; n + 3 <= sizeof data; n += n < 100 ? 1 : 997) {
    uint32_t slow = 0;
    for (size_t i = 0; i < n; i++) slow = pn_crc32c(slow, data + 3 + i, 1);
    assert_int_equal(pn_crc32c(0, data + 3, n), slow);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_crc_long),
      cmocka_unit_test(philox_known_answers),
      cmocka_unit_test(streams_do_not_share_numbers),
      cmocka_unit_test(distributions_have_their_moments),
      cmocka_unit_test(crc32c_check_value),
      cmocka_unit_test(sha256_known_answers),
      cmocka_unit_test(files_are_published_whole),
      cmocka_unit_test(file_errors_name_the_path),
      cmocka_unit_test(folders_are_made),
      cmocka_unit_test(status_records_the_cause),
      cmocka_unit_test(exit_codes_and_names),
      cmocka_unit_test(clock_runs),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
