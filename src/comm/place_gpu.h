/* place_gpu.h -- which GPU each rank takes: the nearest on the PCI bus, shared out evenly.
 *
 * GPUs are told apart by their PCI address, because ranks may see different ones: CUDA numbers only
 * what CUDA_VISIBLE_DEVICES (srun --gpus-per-task) leaves, from 0.  Nothing here needs CUDA. */
#ifndef PN_COMM_PLACE_GPU_H
#define PN_COMM_PLACE_GPU_H

#include "comm/comm.h"

enum { PN_MAX_GPUS = 16, PN_BUS_BYTES = 32 };

/* The GPUs that a rank sees, in its own numbering: bus[i] is the address of the device that
 * cudaSetDevice(i) takes, as cudaDeviceGetPCIBusId or NVML write it ("0000:3B:00.0"). */
typedef struct {
  int n;
  char bus[PN_MAX_GPUS][PN_BUS_BYTES];
} pn_gpu_list;

typedef struct {
  int index;      /* in the rank's own numbering; -1: it sees none */
  int sharing;    /* ranks on that GPU, this one included */
  double near;    /* share of the rank's cores on the GPU's side of the machine */
  double nearest; /* the same of the nearest GPU that it sees */
} pn_gpu_seat;

/* Collective, agreed.  Errors: ARG (not a PCI address), UNSUPPORTED, NOMEM. */
pn_status pn_place_gpu(pn_comm *c, const pn_gpu_list *seen, pn_gpu_seat *out);

/* What one rank of a host sees, and how near it is to each. */
typedef struct {
  pn_gpu_list seen;
  double near[PN_MAX_GPUS]; /* 0 .. 1 */
} pn_gpu_view;

/* The rule itself, for the n ranks of one host: ranks that see few GPUs choose first, each the
 * least used, then the nearest, then the lowest number; then ranks move and change places while
 * that makes it more even, or nearer and as even.  index: [n], -1 where a rank sees none. */
void pn_gpu_assign(const pn_gpu_view *view, int n, int *index);

#endif
