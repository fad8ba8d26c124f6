/* test_place.c -- the map of ranks, cores and threads, and what it warns about. */
#include "base/digest.h"
#include "comm/place.h"
#include "mpi/mpi_test.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

static cpu_set_t allowed; /* at start */

static void bind_to(const cpu_set_t *cpus) {
  assert_int_equal(sched_setaffinity(0, sizeof *cpus, cpus), 0);
}

/* Bind this rank to its rank-th allowed cpu; returns the cpu. */
static size_t bind_to_one(void) {
  int skip = rank % CPU_COUNT(&allowed);
  size_t cpu = 0;
  cpu_set_t one;

  for (; !CPU_ISSET(cpu, &allowed) || skip > 0; cpu++)
    if (CPU_ISSET(cpu, &allowed)) skip--;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  bind_to(&one);
  return cpu;
}

static bool warns(const pn_place_map *m, const char *part) {
  for (int i = 0; i < m->n_warnings; i++)
    if (pn_test_contains(m->warning[i], part)) return true;
  return false;
}

static void same_map_on_all_ranks(void **state) {
  (void)state;
  pn_place_map m;
  int32_t lo, hi;
  uint32_t crc;

  ok(pn_place_make(world, 0, &m));
  crc = pn_crc32c(0, m.rank, (size_t)m.size * sizeof *m.rank);
  crc = pn_crc32c(crc, m.warning, sizeof m.warning);
  lo = hi = (int32_t)(crc >> 1);
  ok(pn_allreduce(world, "lowest", &lo, 1, PN_I32, PN_MIN));
  ok(pn_allreduce(world, "highest", &hi, 1, PN_I32, PN_MAX));
  assert_int_equal(lo, hi);
  for (int r = 0; r < size; r++) {
    assert_int_equal(m.rank[r].rank, r);
    assert_int_equal(m.rank[r].local_rank, r);
    assert_int_equal(m.rank[r].local_size, size);
    assert_string_equal(m.rank[r].host, m.rank[0].host);
  }
  pn_place_free(&m);
  pn_place_free(&m); /* twice does no harm */
}

static void auto_threads_share_the_cores(void **state) {
  (void)state;
  pn_place_map m;
  int cores;

  ok(pn_place_make(world, 0, &m));
  cores = m.rank[0].n_cores;
  assert_in_range(cores, 1, CPU_COUNT(&allowed));
  assert_int_equal(m.rank[rank].n_pus, CPU_COUNT(&allowed));
  assert_int_equal(m.rank[rank].threads, cores / size > 1 ? cores / size : 1);
  assert_int_equal(m.oversubscribed, size > cores);
  assert_int_equal(warns(&m, "ppr:"), size > cores);
  pn_place_free(&m);
}

static void too_many_threads_are_called_out(void **state) {
  (void)state;
  pn_place_map m;
  int many = 2 * CPU_COUNT(&allowed);

  ok(pn_place_make(world, many, &m));
  assert_int_equal(m.rank[rank].threads, many);
  assert_true(m.oversubscribed);
  assert_true(m.n_warnings > 0);
  if (size <= m.rank[0].n_cores) assert_true(warns(&m, "train.threads="));
  pn_place_free(&m);
}

static void a_one_core_binding_is_seen(void **state) {
  (void)state;
  pn_place_map m;
  char text[16];
  size_t cpu = bind_to_one();
  int threads = CPU_COUNT(&allowed) / size;

  snprintf(text, sizeof text, "%zu", cpu);
  ok(pn_place_make(world, threads > 1 ? threads : 1, &m));
  bind_to(&allowed);
  assert_int_equal(m.rank[rank].n_pus, 1);
  assert_int_equal(m.rank[rank].n_cores, 1);
  assert_string_equal(m.rank[rank].cores, text);
  if (threads > 1) { /* the machine has the cores: the binding hides them */
    assert_true(warns(&m, "--bind-to none"));
    snprintf(text, sizeof text, "PE=%d ", threads);
    assert_true(warns(&m, text));
    assert_true(m.oversubscribed);
  }
  pn_place_free(&m);
}

static void ranks_on_one_core_divide_it(void **state) {
  (void)state;
  pn_place_map m;
  int me = rank;

  rank = 0; /* all on the same cpu */
  bind_to_one();
  rank = me;
  ok(pn_place_make(world, 0, &m));
  bind_to(&allowed);
  for (int r = 0; r < size; r++) assert_int_equal(m.rank[r].threads, 1);
  assert_int_equal(m.oversubscribed, size > 1);
  pn_place_free(&m);
}

static void tasks_that_do_not_see_each_other(void **state) {
  (void)state;
  pn_place_map m;

  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  ok(pn_place_make(world, 0, &m));
  unsetenv("SLURM_STEP_NUM_TASKS");
  assert_int_equal(warns(&m, "srun --mpi=pmix"), size == 1);
  pn_place_free(&m);
}

static void simd_level_has_a_name(void **state) {
  (void)state;
  assert_true(strlen(pn_simd_level()) > 0);
#ifdef __x86_64__
  assert_int_equal(pn_test_contains(pn_simd_level(), "AVX-512"),
                   __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"));
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_map_on_all_ranks),
      cmocka_unit_test(auto_threads_share_the_cores),
      cmocka_unit_test(too_many_threads_are_called_out),
      cmocka_unit_test(a_one_core_binding_is_seen),
      cmocka_unit_test(ranks_on_one_core_divide_it),
      cmocka_unit_test(tasks_that_do_not_see_each_other),
      cmocka_unit_test(simd_level_has_a_name),
  };

  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || pn_test_start(60) != PN_OK) return 1;
  return pn_test_end(cmocka_run_group_tests(tests, NULL, NULL));
}
