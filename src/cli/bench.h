/* bench.h -- the measurements of `pneuma bench WHAT`, one file bench_<what>.c each. */
#ifndef PN_CLI_BENCH_H
#define PN_CLI_BENCH_H

#include "cli/cli.h"

pn_status pn_bench_comm(pn_cli *x);
pn_status pn_bench_roofline(pn_cli *x);
pn_status pn_bench_train(pn_cli *x);

#endif
