/* test_place_level.c -- one rank per core, L3, NUMA node, socket, on machines that hwloc makes up.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comm/place_internal.h"

#include <stdlib.h>
#include <string.h>

/* 2 sockets of 4 L3 of 4 cores of 2 threads; the same with two NUMA nodes in each socket. */
#define TWO_SOCKETS "package:2 [numa] l3:4 core:4 pu:2"
#define FOUR_NODES  "package:2 group:2 [numa] l3:2 core:4 pu:2"

typedef struct {
  const char *machine, *room; /* room: cpus that all ranks may use; "" = the machine */
  const char *per;
  int n, domains;
  const char *want[8]; /* cpus of each of the n ranks */
} seating;

static const seating table[] = {
    {TWO_SOCKETS, "", "socket", 2, 2, {"0-31", "32-63"}},
    {TWO_SOCKETS, "", "socket", 1, 2, {"0-31"}},
    {TWO_SOCKETS, "", "numa", 2, 2, {"0-31", "32-63"}},
    {TWO_SOCKETS,
     "",
     "l3",
     8,
     8,
     {"0-7", "8-15", "16-23", "24-31", "32-39", "40-47", "48-55", "56-63"}},
    {TWO_SOCKETS, "", "l3", 2, 8, {"0-7", "32-39"}}, /* spread: a socket each */
    {TWO_SOCKETS, "", "l3", 3, 8, {"0-7", "16-23", "40-47"}},
    {TWO_SOCKETS, "", "core", 4, 32, {"0-1", "16-17", "32-33", "48-49"}},
    {TWO_SOCKETS, "", "socket", 4, 2, {"0-15", "16-31", "32-47", "48-63"}}, /* halves */
    {TWO_SOCKETS, "", "socket", 3, 2, {"0-15", "16-31", "32-63"}},
    {TWO_SOCKETS, "0-11", "l3", 2, 2, {"0-7", "8-11"}}, /* a part of the machine */
    {TWO_SOCKETS, "0-11,40", "socket", 2, 2, {"0-11", "40"}},
    {TWO_SOCKETS, "0,2,4", "core", 3, 3, {"0", "2", "4"}},
    {FOUR_NODES, "", "numa", 4, 4, {"0-15", "16-31", "32-47", "48-63"}},
    {FOUR_NODES, "", "socket", 2, 2, {"0-31", "32-63"}},
    {"package:1 l3:1 core:2 pu:1", "", "core", 4, 2, {"0", "0", "1", "1"}}, /* more than cores */
    {"package:1 l3:1 core:2 pu:1", "", "l3", 3, 1, {"0", "0", "1"}},
    {"package:1 l3:16 core:8 pu:2", "", "l3", 4, 16, {"0-15", "64-79", "128-143", "192-207"}},
};
enum { ROWS = sizeof table / sizeof *table };

static hwloc_topology_t load(const char *machine) {
  hwloc_topology_t topo;

  setenv("HWLOC_SYNTHETIC", machine, 1);
  assert_int_equal(pn_topology_load(false, &topo), PN_OK);
  unsetenv("HWLOC_SYNTHETIC");
  return topo;
}

static hwloc_cpuset_t cpus(const char *list, hwloc_topology_t topo) {
  hwloc_cpuset_t set = hwloc_bitmap_alloc();

  if (*list)
    assert_int_equal(hwloc_bitmap_list_sscanf(set, list), 0);
  else
    hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topo));
  return set;
}

static void check(hwloc_topology_t topo, const seating *t, hwloc_const_cpuset_t room) {
  hwloc_cpuset_t want = hwloc_bitmap_alloc();

  for (int at = 0; at < t->n; at++) {
    struct pn_seat s = {at, t->n, room};
    char text[128];
    int domains = 0;
    assert_int_equal(pn_seat_find(topo, t->per, &s, want, &domains), PN_OK);
    assert_int_equal(domains, t->domains);
    hwloc_bitmap_list_snprintf(text, sizeof text, want);
    if (strcmp(text, t->want[at]) != 0)
      fail_msg("%s, run.place=%s, rank %d of %d: %s, expected %s", t->machine, t->per, at, t->n,
               text, t->want[at]);
  }
  hwloc_bitmap_free(want);
}

static void everyone_has_a_seat(void **state) {
  (void)state;
  for (int i = 0; i < ROWS; i++) {
    hwloc_topology_t topo = load(table[i].machine);
    hwloc_cpuset_t room = cpus(table[i].room, topo);
    check(topo, &table[i], room);
    hwloc_bitmap_free(room);
    hwloc_topology_destroy(topo);
  }
}

/* Whatever the numbers: no core of a domain is left out, none given to two ranks while there are
 * enough. */
static void cores_are_shared_out(void **state) {
  (void)state;
  hwloc_topology_t topo = load("package:2 l3:3 core:5 pu:1");
  hwloc_const_cpuset_t all = hwloc_topology_get_allowed_cpuset(topo);
  hwloc_cpuset_t want = hwloc_bitmap_alloc(), sum = hwloc_bitmap_alloc();

  for (int n = 6; n <= 30; n++) {
    int given = 0, domains;
    hwloc_bitmap_zero(sum);
    for (int at = 0; at < n; at++) {
      struct pn_seat s = {at, n, all};
      assert_int_equal(pn_seat_find(topo, "l3", &s, want, &domains), PN_OK);
      given += hwloc_bitmap_weight(want);
      hwloc_bitmap_or(sum, sum, want);
    }
    assert_int_equal(given, 30);
    assert_true(hwloc_bitmap_isequal(sum, all));
  }
  hwloc_bitmap_free(want);
  hwloc_bitmap_free(sum);
  hwloc_topology_destroy(topo);
}

static void a_binding_that_fits_is_known(void **state) {
  (void)state;
  hwloc_topology_t topo = load(TWO_SOCKETS);
  hwloc_cpuset_t one = cpus("8-15", topo), half = cpus("8-11", topo);

  assert_true(pn_seat_is_domain(topo, "l3", one));
  assert_false(pn_seat_is_domain(topo, "l3", half));
  assert_false(pn_seat_is_domain(topo, "socket", one));
  hwloc_bitmap_free(one);
  hwloc_bitmap_free(half);
  hwloc_topology_destroy(topo);
}

static void what_is_not_there_is_an_error(void **state) {
  (void)state;
  hwloc_topology_t topo = load("package:2 core:4 pu:1");
  hwloc_cpuset_t want = hwloc_bitmap_alloc(), none = hwloc_bitmap_alloc();
  struct pn_seat s = {0, 1, hwloc_topology_get_allowed_cpuset(topo)};
  int domains;

  assert_int_equal(pn_seat_find(topo, "l3", &s, want, &domains), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "hwloc sees no L3 caches"));
  assert_int_equal(pn_seat_find(topo, "shelf", &s, want, &domains), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "expected launcher, core, l3, numa or socket"));
  s.room = none;
  assert_int_equal(pn_seat_find(topo, "core", &s, want, &domains), PN_ERR_ARG);
  hwloc_bitmap_free(want);
  hwloc_bitmap_free(none);
  hwloc_topology_destroy(topo);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(everyone_has_a_seat),
      cmocka_unit_test(cores_are_shared_out),
      cmocka_unit_test(a_binding_that_fits_is_known),
      cmocka_unit_test(what_is_not_there_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
