/* table.h -- the rows of the strategy table; private to this folder. */
#ifndef PN_PARALLEL_TABLE_H
#define PN_PARALLEL_TABLE_H

#include "parallel/strategy.h"

extern const pn_strategy_ops pn_strategy_single_ops, pn_strategy_ddp_ops, pn_strategy_zero1_ops,
    pn_strategy_fsdp_ops, pn_strategy_ddp_one_host_ops;

#endif
