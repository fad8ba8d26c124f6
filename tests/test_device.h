/* test_device.h -- the rows `ctest -L gpu`: a test program with the name of a device as argument
 * runs on that device, or says why not and is skipped.  PN_TEST_DEVICE: on another one instead, so
 * that the rows themselves can be tried where there is no GPU. */
#ifndef PN_TESTS_TEST_DEVICE_H
#define PN_TESTS_TEST_DEVICE_H

#include "device/device.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEST_SKIPPED = 77 };

/* The device asked for; NULL: none was. */
static inline const char *test_device_name(int argc, char **argv) {
  const char *instead = getenv("PN_TEST_DEVICE");
  if (argc < 2) return NULL;
  return instead && *instead ? instead : argv[1];
}

/* NULL and a line that says why where it cannot be used. */
static inline pn_device *test_device_open(const char *name, int threads) {
  pn_device *d = NULL;
  if (pn_device_create(name, threads, &d) == PN_OK) return d;
  printf("SKIPPED: %s\n", pn_last_error());
  return NULL;
}

#endif
