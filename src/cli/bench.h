/* bench.h -- the measurements of `pneuma bench WHAT`, one file bench_<what>.c each. */
#ifndef PN_CLI_BENCH_H
#define PN_CLI_BENCH_H

#include "cli/info.h"

/* The model of the options on each rank's device, as training would have it.  *out owned by the
 * caller.  Collective, agreed.  Errors: those of the device, ARG, and those of the planner. */
pn_status pn_bench_model(pn_cli *x, int threads, pn_info_model **out);

/* What computes: the GPU, or the CPU's library and the instructions that it takes ("": a GPU). */
const char *pn_bench_library(const pn_info_model *m);
const char *pn_bench_isa(const pn_info_model *m);

pn_status pn_bench_comm(pn_cli *x);
pn_status pn_bench_roofline(pn_cli *x);
pn_status pn_bench_train(pn_cli *x);

#endif
