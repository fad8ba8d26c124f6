/* bench_comm.c -- `pneuma bench comm`: collectives beside the MPI library's own. */
#include "report/bench_comm.h"
#include "cli/bench.h"
#include "cli/units.h"

#include <stdlib.h>

static void print_row(void *ctx, const pn_comm_row *r) {
  const pn_cli *x = ctx;

  if (!pn_cli_speaks(x)) return;
  printf("%-16s %10s %12.1f %12.1f %7.2f %9.2f %9.2f  %s\n", r->op,
         pn_text_bytes((double)r->bytes).s, r->us, r->mpi_us, r->mpi_us / r->us, r->algbw_GBps,
         r->busbw_GBps, r->correct ? "yes" : "NO");
  fflush(stdout);
}

static json_t *rows_json(const pn_comm_row *rows, int n, int ranks) {
  json_t *list = json_array();

  for (int i = 0; i < n; i++) {
    const pn_comm_row *r = &rows[i];
    json_array_append_new(list, json_pack("{s:s, s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:b}", "op",
                                          r->op, "bytes", (json_int_t)r->bytes, "ranks", ranks,
                                          "us", r->us, "mpi_us", r->mpi_us, "ratio",
                                          r->mpi_us / r->us, "algbw_GBps", r->algbw_GBps,
                                          "busbw_GBps", r->busbw_GBps, "correct", r->correct));
  }
  return list;
}

static pn_status all_correct(const pn_comm_row *rows, int n) {
  for (int i = 0; i < n; i++)
    if (!rows[i].correct)
      return PN_FAIL(PN_ERR_NUMERIC, "%s of %lld bytes gives wrong sums", rows[i].op,
                     (long long)rows[i].bytes);
  return PN_OK;
}

pn_status pn_bench_comm(pn_cli *x) {
  pn_comm_bench b = {.world = x->comm, .tell = print_row, .ctx = x};
  int ranks = pn_comm_size(x->comm), n = 0;
  pn_comm_row *rows = NULL;
  pn_status st = PN_OK;

  b.from = pn_options_int(x->opt, "bench.from_kb") << 10;
  b.to = pn_options_int(x->opt, "bench.to_mb") << 20;
  b.seconds = pn_options_float(x->opt, "bench.row_s");
  PN_TRY(pn_comm_data(x->comm, pn_options_text(x->opt, "train.comm"), &b.bulk));
  if (pn_cli_speaks(x)) {
    printf("%d ranks, %s against %s's blocking calls; medians of the slowest rank\n", ranks,
           pn_comm_backend(b.bulk), pn_comm_library());
    printf("%-16s %10s %12s %12s %7s %9s %9s  %s\n", "operation", "size", "us", "MPI us", "ratio",
           "alg GB/s", "bus GB/s", "correct");
  }
  PN_TRY(pn_comm_bench_run(&b, &rows, &n));
  PN_TRY(all_correct(rows, n));
  if (pn_cli_speaks(x) && pn_comm_bench_gain(rows, n) > 0)
    printf("allreduce of 1, 4, 16, 64 MiB: %.2f times the library's speed (geometric mean)\n",
           pn_comm_bench_gain(rows, n));
  x->result = json_pack("{s:o, s:f, s:s, s:s}", "rows", rows_json(rows, n, ranks), "gain",
                        pn_comm_bench_gain(rows, n), "comm", pn_comm_backend(b.bulk), "mpi",
                        pn_comm_library());
done:
  free(rows);
  pn_comm_destroy(b.bulk);
  return st;
}
