/* test_place_take.c -- run.place: ranks bind themselves, GPUs go by PCI locality; machines are
 * made up, and the two-cpu ones are bound to for real. */
#include "comm/place.h"
#include "comm/place_gpu.h"
#include "comm/place_internal.h"
#include "mpi/mpi_test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static cpu_set_t allowed; /* at start */

static bool warns(const pn_place_map *m, const char *part) {
  for (int i = 0; i < m->n_warnings; i++)
    if (pn_test_contains(m->warning[i], part)) return true;
  return false;
}

static void on_machine(const char *synthetic, bool real) {
  setenv("HWLOC_SYNTHETIC", synthetic, 1);
  if (real) setenv("HWLOC_THISSYSTEM", "1", 1);
}

static void back(void) {
  unsetenv("HWLOC_SYNTHETIC");
  unsetenv("HWLOC_XMLFILE");
  unsetenv("HWLOC_THISSYSTEM");
  assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

/* cpus 0 and 1 exist here, so that a made-up machine of two can be bound to. */
static bool two_cpus(void) {
  return CPU_ISSET(0, &allowed) && CPU_ISSET(1, &allowed);
}

static void bind_to(int at) {
  size_t cpu = (size_t)at;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
}

static void spread_over_two_sockets(void **state) {
  (void)state;
  static const char *const want[5][4] = {{NULL},
                                         {"0-7"},
                                         {"0-7", "32-39"},
                                         {"0-7", "16-23", "40-47"},
                                         {"0-7", "16-23", "32-39", "48-55"}};
  pn_place_map m;

  on_machine("package:2 [numa] l3:4 core:4 pu:2", false);
  ok(pn_place_take(world, "l3", 0, &m));
  for (int r = 0; r < size; r++) {
    assert_string_equal(m.rank[r].cores, want[size][r]);
    assert_int_equal(m.rank[r].n_cores, 4);
    assert_int_equal(m.rank[r].threads, 4);
    assert_int_equal(m.rank[r].n_numa, 1);
    assert_int_equal(m.rank[r].machine.sockets, 2);
    assert_int_equal(m.rank[r].machine.l3, 8);
    assert_int_equal(m.rank[r].machine.cores, 32);
  }
  assert_int_equal(m.n_warnings, 0);
  pn_place_free(&m);
  back();
}

static void memory_far_from_threads_is_called_out(void **state) {
  (void)state;
  pn_place_map m;

  on_machine("package:2 [numa] l3:4 core:4 pu:2", false);
  ok(pn_place_take(world, "launcher", 0, &m)); /* unbound: threads on both sockets */
  assert_true(warns(&m, "run.place=numa"));
  pn_place_free(&m);
  ok(pn_place_take(world, "socket", 0, &m));
  assert_false(warns(&m, "run.place=numa"));
  assert_int_equal(warns(&m, "2 sockets"), size > 2);
  pn_place_free(&m);
  back();
}

static void ranks_are_bound(void **state) {
  (void)state;
  pn_place_map m;
  cpu_set_t now;
  int mine = rank * 2 / size;

  if (!two_cpus()) return;
  on_machine("package:2 [numa] l3:1 core:1 pu:1", true);
  assert_int_equal(sched_setaffinity(0, sizeof allowed, &allowed), 0);
  ok(pn_place_take(world, "socket", 0, &m));
  assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
  assert_int_equal(CPU_COUNT(&now), 1);
  assert_true(CPU_ISSET(size == 1 ? 0 : (size_t)mine, &now));
  assert_string_equal(m.rank[rank].numa, mine ? "1" : "0");
  assert_int_equal(warns(&m, "2 sockets"), size > 2);
  pn_place_free(&m);
  back();
}

/* The launcher's binding stays where it does not hold the rank's part, and a warning says so. */
static void a_binding_that_contradicts(void **state) {
  (void)state;
  pn_place_map m;
  cpu_set_t now;

  if (!two_cpus() || size != 2) return;
  on_machine("package:2 [numa] l3:1 core:1 pu:1", true);
  bind_to(1 - rank); /* the wrong way round, but a socket each: as good */
  ok(pn_place_take(world, "socket", 0, &m));
  assert_int_equal(m.n_warnings, 0);
  assert_string_equal(m.rank[0].cores, "1");
  pn_place_free(&m);
  back();

  on_machine("package:1 [numa] l3:1 core:2 pu:1", true);
  bind_to(rank); /* each half of the only socket: which is their share */
  ok(pn_place_take(world, "socket", 0, &m));
  assert_false(warns(&m, "the launcher bound it"));
  assert_true(warns(&m, "2 ranks for 1 sockets"));
  pn_place_free(&m);
  bind_to(1 - rank);
  ok(pn_place_take(world, "socket", 0, &m));
  assert_true(warns(&m, "run.place=socket wants cpus 0 of"));
  assert_true(warns(&m, "but the launcher bound it to 1"));
  assert_true(warns(&m, "mpirun --bind-to none"));
  assert_int_equal(sched_getaffinity(0, sizeof now, &now), 0);
  assert_true(CPU_COUNT(&now) == 1 && CPU_ISSET((size_t)(1 - rank), &now));
  pn_place_free(&m);
  back();
}

/* Gradients, which ranks share, on the NUMA node of the rank that allocated them: says something on
 * machines with several. */
static void memory_lies_where_the_rank_is(void **state) {
  (void)state;
  const size_t bytes = (size_t)4 << 20;
  hwloc_nodeset_t where = hwloc_bitmap_alloc();
  hwloc_topology_t topo;
  pn_comm *c = NULL;
  pn_place_map m;
  void *p = NULL;
  char text[PN_CORES_BYTES];

  ok(pn_place_take(world, "numa", 0, &m));
  ok(pn_topology_load(false, &topo));
  ok(pn_comm_data(world, size > 1 ? "shm" : "auto", &c));
  ok(pn_comm_alloc(c, bytes, &p));
  if (hwloc_get_area_memlocation(topo, p, bytes, where, HWLOC_MEMBIND_BYNODESET) == 0) {
    hwloc_bitmap_list_snprintf(text, sizeof text, where);
    assert_string_equal(text, m.rank[rank].numa);
  }
  pn_comm_free(c, p);
  pn_comm_destroy(c);
  pn_place_free(&m);
  hwloc_topology_destroy(topo);
  hwloc_bitmap_free(where);
  back();
}

static void what_is_not_there_is_an_error(void **state) {
  (void)state;
  pn_place_map m;

  on_machine("package:2 core:2 pu:1", false);
  assert_int_equal(pn_place_take(world, "l3", 0, &m), PN_ERR_ARG);
  assert_non_null(strstr(pn_last_error(), "no L3 caches"));
  back();
}

/* Two ranks on two sockets with two GPUs each, numbered from the far end. */
static void gpus_by_locality(void **state) {
  (void)state;
  static const char *const bus[] = {"0000:42:00.0", "0000:41:00.0", "0000:02:00.0", "0000:01:00.0"};
  pn_gpu_list seen = {.n = 4}, own = {.n = 1};
  pn_gpu_seat seat;
  char path[1024];

  for (int g = 0; g < 4; g++) snprintf(seen.bus[g], PN_BUS_BYTES, "%s", bus[g]);
  snprintf(path, sizeof path, "%s/tests/unit/two_sockets_four_gpus.xml", getenv("SOURCE_DIR"));
  setenv("HWLOC_XMLFILE", path, 1);
  if (two_cpus()) {
    setenv("HWLOC_THISSYSTEM", "1", 1);
    bind_to(rank % 2);
    ok(pn_place_gpu(world, &seen, &seat));
    assert_int_equal(seat.index / 2, rank % 2 ? 0 : 1);
    assert_true(seat.near == 1 && seat.sharing == 1);
  }
  snprintf(own.bus[0], PN_BUS_BYTES, "%s", bus[rank]); /* CUDA_VISIBLE_DEVICES of its own */
  ok(pn_place_gpu(world, &own, &seat));
  assert_int_equal(seat.index, 0);
  assert_int_equal(seat.sharing, 1);
  if (rank == size - 1) own.n = 0;
  ok(pn_place_gpu(world, &own, &seat));
  assert_int_equal(seat.index, rank == size - 1 ? -1 : 0);
  back();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spread_over_two_sockets),
      cmocka_unit_test(memory_far_from_threads_is_called_out),
      cmocka_unit_test(ranks_are_bound),
      cmocka_unit_test(a_binding_that_contradicts),
      cmocka_unit_test(memory_lies_where_the_rank_is),
      cmocka_unit_test(what_is_not_there_is_an_error),
      cmocka_unit_test(gpus_by_locality),
  };

  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || pn_test_start(60) != PN_OK) return 1;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
