/* test_dataset_large.c -- ten million images in the index: opened in less than 2 s and 1 GB, read
 * through shards that are opened when needed. */
#include "base/clock.h"
#include "data/dataset.h"
#include "unit/shard_folder.h"

#include <math.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { SHARDS = 2500, PER_SHARD = 4000, IMAGES = SHARDS * PER_SHARD };
static const folder_shape shape = {1, 4, 4, 8, SHARDS, PER_SHARD};

static char folder[64];

/* One file under all names: every shard is real. */
static void write_folder(void) {
  json_t *index = folder_index(&shape, SHARDS);
  static char split[PER_SHARD + 1];
  char first[128], path[128];
  pn_shard_summary s;
  memset(split, 't', PER_SHARD);
  split[PER_SHARD - 1] = 'v';
  folder_write_shard(folder, &shape, 0, &s);
  snprintf(first, sizeof first, "%s/%s", folder, s.file);
  for (int k = 0; k < SHARDS; k++) {
    snprintf(s.file, sizeof s.file, "shard-%05d.h5", k);
    snprintf(path, sizeof path, "%s/%s", folder, s.file);
    if (k > 0) assert_int_equal(link(first, path), 0);
    folder_add_shard(index, &s, split);
  }
  folder_write_index(folder, index);
}

/* In a process of its own: the memory of writing must not count. */
static int set_up(void **state) {
  pid_t child;
  int status = 1;
  (void)state;
  strcpy(folder, "/tmp/pn_large_XXXXXX");
  if (!mkdtemp(folder)) return -1;
  if ((child = fork()) == 0) {
    write_folder();
    _exit(0);
  }
  return child < 0 || waitpid(child, &status, 0) != child || status != 0 ? -1 : 0;
}

static int tear_down(void **state) {
  (void)state;
  folder_remove(folder);
  return 0;
}

static double peak_mb(void) {
  struct rusage u;
  assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
  return (double)u.ru_maxrss / 1024;
}

static void check_image(pn_dataset *d, int64_t number) {
  int64_t in_shard = number % PER_SHARD;
  pn_sample x;
  if (in_shard == PER_SHARD - 1) return; /* of val */
  if (pn_dataset_get(d, PN_TRAIN, number - number / PER_SHARD, &x) != PN_OK)
    fail_msg("%s", pn_last_error());
  assert_int_equal(x.id, number);
  assert_int_equal(x.label, in_shard % 2);
  for (size_t k = 0; k < 16; k++) assert_int_equal(x.pixels[k], folder_byte(in_shard, k));
}

/* The best of three: another program may have the machine for a moment. */
static double opening_s(void) {
  double best = INFINITY;

  for (int k = 0; k < 3; k++) {
    pn_dataset *d = NULL;
    double t0 = pn_now(), s;
    if (pn_dataset_open(folder, &d) != PN_OK) fail_msg("%s", pn_last_error());
    s = pn_now() - t0;
    best = s < best ? s : best;
    pn_dataset_close(d);
  }
  return best;
}

static void test_open(void **state) {
  double before = peak_mb(), open_s = opening_s(), t0, order_s;
  int64_t *order = malloc(IMAGES * sizeof *order);
  pn_dataset *d = NULL;
  (void)state;
  if (pn_dataset_open(folder, &d) != PN_OK) fail_msg("%s", pn_last_error());
  print_message("%d images in %d shards: open %.2f s (best of 3), %.0f MB at most\n", IMAGES,
                SHARDS, open_s, peak_mb() - before);
  assert_true(open_s < 2);
  assert_true(peak_mb() - before < 1000);
  assert_int_equal(pn_dataset_count(d, PN_TRAIN), IMAGES - SHARDS);
  assert_int_equal(pn_dataset_count(d, PN_VAL), SHARDS);
  for (int64_t i = 0; i < 500; i++) check_image(d, i * 7919 * 2531 % IMAGES);
  check_image(d, 0);
  check_image(d, IMAGES - 2);
  t0 = pn_now();
  pn_sampler_permute(1, 1, IMAGES, order);
  order_s = pn_now() - t0;
  print_message("order of an epoch %.2f s; with it and 500 shards open %.0f MB\n", order_s,
                peak_mb() - before);
  assert_true(peak_mb() - before < 1000);
  pn_dataset_close(d);
  free(order);
}

/* A shard that is gone is found at once; one that is damaged when it is needed, by name. */
static void test_late_damage(void **state) {
  char path[128];
  pn_dataset *d = NULL;
  pn_sample x;
  const int64_t at = 1234 * (PER_SHARD - 1);
  FILE *f;
  (void)state;
  snprintf(path, sizeof path, "%s/shard-01234.h5", folder);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(pn_dataset_open(folder, &d), PN_ERR_IO);
  assert_non_null(strstr(pn_last_error(), "shard-01234.h5"));
  f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fclose(f), 0);
  assert_int_equal(pn_dataset_open(folder, &d), PN_ERR_FORMAT); /* its size */
  {
    char other[128];
    struct stat info;
    snprintf(other, sizeof other, "%s/shard-00000.h5", folder);
    assert_int_equal(stat(other, &info), 0);
    assert_int_equal(truncate(path, info.st_size), 0);
  }
  assert_int_equal(pn_dataset_open(folder, &d), PN_OK);
  assert_int_equal(pn_dataset_get(d, PN_TRAIN, at - 1, &x), PN_OK);
  assert_int_equal(pn_dataset_get(d, PN_TRAIN, at, &x), PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "shard-01234.h5"));
  assert_int_equal(pn_dataset_reach(d, PN_TRAIN, &at, 1), PN_ERR_FORMAT);
  pn_dataset_close(d);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_open),
                                     cmocka_unit_test(test_late_damage)};
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
