/* roofline.h -- each step of a training plan against what the processor can do at most. */
#ifndef PN_REPORT_ROOFLINE_H
#define PN_REPORT_ROOFLINE_H

#include "nn/plan.h"
#include "optim/optim.h"

typedef struct {
  pn_step_info info; /* the last row is the optimizer's update of all parameters */
  double seconds;    /* the fastest run: others may use the machine */
  double bound;      /* seconds that FLOP at the peak, or bytes at the bandwidth, take at least */
  bool by_memory;    /* the bytes need longer than the FLOP */
} pn_roofline_row;

typedef struct {
  double peak_flops, bandwidth; /* measured, per second; 0: unknown */
  double step_seconds;          /* fastest whole step, update included */
  int64_t flop;                 /* of a step */
  pn_roofline_row *row;         /* [n], slowest first; owned */
  int n;
} pn_roofline;

/* plan and device are borrowed; the plan is bound to arenas of this call and must be bound again
 * afterwards.  rounds: whole steps that are measured, after one to warm up.  Random images and
 * initial weights.  Not collective.  Errors: NOMEM, those of the kernels. */
typedef struct {
  const pn_graph *graph;
  pn_device *device;
  pn_plan *plan;
  const pn_optim *optim;
  int64_t batch, rounds;
} pn_roofline_spec;
pn_status pn_roofline_make(const pn_roofline_spec *s, pn_roofline *out);
void pn_roofline_free(pn_roofline *r);

#endif
