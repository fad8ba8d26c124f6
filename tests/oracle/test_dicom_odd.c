/* test_dicom_odd.c -- every file of ../shared/data/dicom_odd, each in a process of its own with
 * 1 GB of memory and 5 s: the readable ones equal pydicom's pixels (dicom_odd.h, made by
 * tests/peer/make_dicom_odd.py), the others are refused for the reason written there.
 *   test_dicom_odd print: "file<TAB>reason" of all, for that script */
#include "data/dicom_raw.h"
#include "data/jpeg2000.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SAMPLES = 8, SECONDS = 5 };
#define MEMORY ((rlim_t)1 << 30)

/* Of the first frame. */
typedef struct {
  const char *file, *reason; /* reason "": accepted */
  long long rows, columns;
  unsigned long long stored; /* hash of the stored grey values, 0: colour */
  double tolerance;          /* of the numbers below, in 1/65535 */
  double mean;
  double sample[SAMPLES]; /* at pixel k * n / SAMPLES + 7 * k, presented, 0..65535 */
} expected;

#include "dicom_odd.h"

static char folder[512];

static double grey(const pn_gray *g, size_t i) {
  return g->bytes_per_pixel == 1 ? 257.0 * ((uint8_t *)g->data)[i] : ((uint16_t *)g->data)[i];
}

static int64_t stored_value(const pn_dicom_raw *raw, const pn_dicom_frame *f, size_t i) {
  const uint8_t *d = f->data + i * (size_t)(f->allocated / 8);
  int64_t full = (int64_t)1 << f->stored, v = 0;
  for (int b = 0; b < f->allocated / 8; b++) v |= (int64_t)d[b] << 8 * b;
  v = v >> (f->high_bit - f->stored + 1) & (full - 1);
  return raw->is_signed == 1 && v >= full / 2 ? v - full : v;
}

/* Depends on every value and its place. */
static unsigned long long hash_stored(pn_dicom_reader *r) {
  size_t n = (size_t)(r->raw.rows * r->raw.columns);
  pn_gray g = {0};
  pn_dicom_frame f;
  pn_reject why = {0};
  uint64_t sum = 0;

  if (pn_dicom_decode(r, 0, &f, &g, &why) != PN_OK || why.reason[0]) return 1;
  for (size_t i = 0; i < n; i++)
    sum += (uint64_t)stored_value(&r->raw, &f, i) * ((uint64_t)i * 2654435761u | 1);
  pn_gray_free(&g);
  return sum;
}

static int complain(const expected *e, const char *what, double got, double want) {
  printf("%s: %s is %.6g, expected %.6g\n", e->file, what, got, want);
  return 1;
}

static int compare(pn_dicom_reader *r, const expected *e, const pn_gray *g) {
  size_t n = (size_t)(g->height * g->width);
  double sum = 0;
  int bad = 0;

  if (g->height != e->rows) bad += complain(e, "height", (double)g->height, (double)e->rows);
  if (g->width != e->columns) bad += complain(e, "width", (double)g->width, (double)e->columns);
  if (bad) return bad;
  for (size_t i = 0; i < n; i++) sum += grey(g, i);
  sum /= (double)n;
  if (!(fabs(sum - e->mean) <= e->tolerance)) bad += complain(e, "mean", sum, e->mean);
  for (size_t k = 0; k < SAMPLES; k++) {
    double got = grey(g, (k * n / SAMPLES + 7 * k) % n);
    if (!(fabs(got - e->sample[k]) <= e->tolerance))
      bad += complain(e, "sample", got, e->sample[k]);
  }
  if (e->stored && hash_stored(r) != e->stored) bad += complain(e, "hash of stored values", 0, 1);
  return bad;
}

/* In the child: 0 as expected, else the number of differences. */
static int check_file(const expected *e, bool print) {
  pn_dicom_rules rules = {.frames = PN_FRAMES_FIRST};
  pn_dicom_reader *r = NULL;
  pn_dicom_info info;
  pn_gray g = {0};
  pn_reject why;
  char path[1024];

  snprintf(path, sizeof path, "%s/%s", folder, e->file);
  if (pn_dicom_reader_create(&r) != PN_OK) return 99;
  pn_dicom_reader_rules(r, &rules);
  if (pn_dicom_read(r, path, &info, &g, &why) != PN_OK) {
    printf("%s: %s\n", e->file, pn_last_error());
    return 98;
  }
  if (print) {
    printf("%s\t%s\n", e->file, why.reason);
    return 0;
  }
  if (strcmp(why.reason, e->reason) != 0) {
    printf("%s: reason '%s' %s %s, expected '%s'\n", e->file, why.reason, why.tag, why.value,
           e->reason);
    return 97;
  }
  return why.reason[0] ? 0 : compare(r, e, &g);
}

/* Exit status, or 1000 + the signal that ended it. */
static int in_child(const expected *e, bool print) {
  struct rlimit memory = {MEMORY, MEMORY}, cpu = {SECONDS, SECONDS};
  int status = 0;
  pid_t pid;

  fflush(stdout);
  if ((pid = fork()) == 0) {
    int rc;
    setrlimit(RLIMIT_AS, &memory);
    setrlimit(RLIMIT_CPU, &cpu);
    alarm(2 * SECONDS); /* waiting instead of working */
    rc = check_file(e, print);
    fflush(stdout);
    _exit(rc > 255 ? 255 : rc);
  }
  if (pid < 0 || waitpid(pid, &status, 0) < 0) return -1;
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_all(bool print) {
  int bad = 0;

  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    int rc = in_child(&table[i], print);
    if (rc > 1000) printf("%s: ended by signal %d\n", table[i].file, rc - 1000);
    bad += rc != 0;
  }
  return bad;
}

static void test_files(void **state) {
  (void)state;
  assert_int_equal(run_all(false), 0);
}

/* The table names every file of the folder's MANIFEST, and no other. */
static void test_manifest(void **state) {
  char path[1024], line[4096], name[512];
  size_t rows = 0;
  FILE *f;
  (void)state;
  snprintf(path, sizeof path, "%s/MANIFEST.csv", folder);
  assert_non_null(f = fopen(path, "r"));
  assert_non_null(fgets(line, sizeof line, f));
  for (; fgets(line, sizeof line, f); rows++) {
    size_t i = 0, n = sizeof table / sizeof *table;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line, ","), line);
    while (i < n && strcmp(table[i].file, name) != 0) i++;
    if (i == n) fail_msg("%s is not in tests/oracle/dicom_odd.h", name);
  }
  fclose(f);
  assert_int_equal(rows, sizeof table / sizeof *table);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_manifest), cmocka_unit_test(test_files)};
  const char *source = getenv("SOURCE_DIR");
  pn_dicom_reader *r = NULL;

  snprintf(folder, sizeof folder, "%s/../shared/data/dicom_odd", source ? source : ".");
  if (access(folder, R_OK) != 0) {
    printf("skipped: no %s\n", folder);
    return 77;
  }
  if (pn_dicom_reader_create(&r) != PN_OK || strcmp(pn_jpeg2000_library(), "none") == 0) {
    printf("skipped: built without DCMTK or OpenJPEG\n");
    return 77;
  }
  pn_dicom_reader_destroy(r);
  if (argc > 1 && strcmp(argv[1], "print") == 0) return run_all(true) != 0;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
