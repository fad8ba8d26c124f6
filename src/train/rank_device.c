/* rank_device.c -- see rank_device.h. */
#include "train/rank_device.h"

#include "base/log.h"
#include "comm/place_gpu.h"

#include <string.h>

static pn_status check_sharing(const pn_gpu_list *seen, const pn_gpu_seat *seat, bool share) {
  if (share || seat->sharing < 2) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%d ranks would share GPU %s: start one rank per GPU (this rank sees %d), or set "
                 "device.share=true",
                 seat->sharing, seen->bus[seat->index], seen->n);
}

/* spec->gpu and, for auto, spec->name.  Collective, agreed. */
static pn_status choose(pn_comm *c, pn_device_spec *spec, bool share) {
  pn_gpu_list seen = {.n = 0};
  pn_gpu_seat seat;
  int32_t blind;
  pn_status st;

  PN_TRY(pn_agree(c, pn_device_gpus(&seen)));
  PN_TRY(pn_place_gpu(c, &seen, &seat));
  blind = seat.index < 0;
  PN_TRY(pn_allreduce(c, "ranks without a GPU", &blind, 1, PN_I32, PN_MAX));
  if (blind && strcmp(spec->name, "auto") == 0) spec->name = "cpu";
  spec->gpu = seat.index < 0 ? 0 : seat.index;
  if (!blind) PN_TRY(pn_agree(c, check_sharing(&seen, &seat, share)));
done:
  return st;
}

pn_status pn_rank_device(pn_comm *c, const pn_device_spec *want, bool share, pn_device **out) {
  bool gpu = strcmp(want->name, "auto") == 0 || strcmp(want->name, "cuda") == 0;
  pn_device_spec spec = *want;
  pn_status st = PN_OK;

  *out = NULL;
  if (gpu) PN_TRY(choose(c, &spec, share));
  st = pn_agree(c, pn_device_open(&spec, out));
  if (st != PN_OK) {
    pn_device_destroy(*out);
    *out = NULL;
  }
done:
  return st;
}
