/* mpi_test.h -- what the tests of several ranks share: the world, and one way in and out. */
#ifndef PN_TESTS_MPI_TEST_H
#define PN_TESTS_MPI_TEST_H

#include "comm/comm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <mpi.h>
#include <string.h>

static pn_comm *world;
static int rank, size;

static inline void ok(pn_status st) {
  if (st != PN_OK) fail_msg("%s", pn_last_error());
}

static inline bool pn_test_contains(const char *text, const char *part) {
  return strstr(text, part) != NULL;
}

static inline pn_status pn_test_start(double watchdog_s) {
  int level;
  pn_status st;

  pn_comm_prepare();
  if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS) return PN_ERR_COMM;
  if ((st = pn_comm_world(watchdog_s, &world)) != PN_OK) return st;
  rank = pn_comm_rank(world);
  size = pn_comm_size(world);
  return PN_OK;
}

/* The end of src/main.c. */
static inline int pn_test_leave(int code) {
  pn_comm_destroy(world);
  pn_comm_leave(code);
  return code;
}

/* A rank whose test failed may have left its peers in a collective: it takes them down. */
static inline int pn_test_end(int n_failed) {
  if (n_failed > 0) pn_comm_abort(1);
  return pn_test_leave(0);
}

#endif
