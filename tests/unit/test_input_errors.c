/* test_input_errors.c -- row 57: a network file system that fails once and works again.  This
 * program has its own read() and open(), which fail as often as a test says. */
#include "data/input.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  int opens, reads, error; /* the next so many fail with this errno */
  int opened, read;        /* calls so far */
} fault;

ssize_t read(int fd, void *to, size_t bytes) {
  fault.read++;
  if (fault.reads > 0 && fault.reads--) {
    errno = fault.error;
    return -1;
  }
  return syscall(SYS_read, fd, to, bytes);
}

int open(const char *path, int flags, ...) {
  fault.opened++;
  if (fault.opens > 0 && fault.opens--) {
    errno = fault.error;
    return -1;
  }
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}

static char path[64];
static pn_input in;

static const char *try_read(int opens, int reads, int error) {
  static pn_reject why;

  memset(&fault, 0, sizeof fault);
  fault.opens = opens;
  fault.reads = reads;
  fault.error = error;
  assert_int_equal(pn_input_read(&in, path, &why), PN_OK);
  fault.opens = fault.reads = 0;
  if (!why.reason[0]) {
    assert_int_equal(in.bytes, 5);
    assert_memory_equal(in.data, "hello", 5);
  } else {
    assert_string_equal(why.value, strerror(error));
  }
  return why.reason;
}

static void test_passes(void **state) {
  static const int transient[] = {EIO, ESTALE, ETIMEDOUT};
  (void)state;

  for (size_t i = 0; i < sizeof transient / sizeof *transient; i++)
    for (int n = 1; n <= 3; n++) {
      assert_string_equal(try_read(0, n, transient[i]), "");
      assert_int_equal(fault.read, n + 1);
      assert_int_equal(fault.opened, n + 1); /* a stale handle needs a new one */
      assert_string_equal(try_read(n, 0, transient[i]), "");
      assert_int_equal(fault.opened, n + 1);
    }
}

static void test_stays(void **state) {
  (void)state;
  assert_string_equal(try_read(0, 100, EIO), "read_error");
  assert_int_equal(fault.read, 4); /* once, and three more times */
  assert_string_equal(try_read(100, 0, ESTALE), "cannot_open");
  assert_int_equal(fault.opened, 4);
}

/* Errors that no second try will mend; an interrupted read just goes on. */
static void test_no_retry(void **state) {
  (void)state;
  assert_string_equal(try_read(0, 1, EISDIR), "read_error");
  assert_int_equal(fault.read, 1);
  assert_string_equal(try_read(1, 0, EACCES), "permission_denied");
  assert_int_equal(fault.opened, 1);
  assert_string_equal(try_read(0, 2, EINTR), "");
  assert_int_equal(fault.opened, 1);
}

static int setup(void **state) {
  FILE *f;
  (void)state;
  snprintf(path, sizeof path, "test_input_errors.%ld", (long)getpid());
  f = fopen(path, "w");
  return !f || fputs("hello", f) < 0 || fclose(f) != 0;
}

static int teardown(void **state) {
  (void)state;
  pn_input_free(&in);
  return unlink(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_passes),
      cmocka_unit_test(test_stays),
      cmocka_unit_test(test_no_retry),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
