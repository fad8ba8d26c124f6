/* rank_device.h -- the device of each rank: one GPU each where there are enough. */
#ifndef PN_TRAIN_RANK_DEVICE_H
#define PN_TRAIN_RANK_DEVICE_H

#include "comm/comm.h"
#include "device/device.h"

/* Opens want->name for every rank, the nearest free GPU of its host where that is a GPU
 * (want->gpu is ignored).  "auto" takes the CPU on all ranks where one of them sees no GPU.
 * Collective, agreed.  Errors: those of pn_device_open; ARG (ranks would share a GPU, and `share`
 * is false). */
pn_status pn_rank_device(pn_comm *c, const pn_device_spec *want, bool share, pn_device **out);

#endif
