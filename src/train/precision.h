/* precision.h -- train.precision: what a run or an evaluation computes in. */
#ifndef PN_TRAIN_PRECISION_H
#define PN_TRAIN_PRECISION_H

#include "comm/comm.h"
#include "device/device.h"

/* "f32" (also ""), "bf16" or "fp16".  Errors: UNSUPPORTED (another name). */
pn_status pn_precision_parse(const char *name, pn_dtype *out);
/* The same and checked against the device.  Errors: UNSUPPORTED with the ways out. Not collective.
 */
pn_status pn_precision_of(const pn_device *d, const char *name, pn_dtype *out);
/* The same for all ranks; fallback: f32 on all where one of them lacks what `name` asks for, with a
 * warning.  Collective, agreed. */
pn_status pn_precision_agree(pn_comm *c, const pn_device *d, const char *name, bool fallback,
                             pn_dtype *out);

#endif
