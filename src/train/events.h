/* events.h -- numbers of a run as TensorBoard reads them: TFRecords of protocol buffers, written by
 * hand (tensorboard/compat/proto/event.proto, summary.proto). */
#ifndef PN_TRAIN_EVENTS_H
#define PN_TRAIN_EVENTS_H

#include "base/status.h"

#include <stdint.h>

typedef struct pn_events pn_events;

/* A new file FOLDER/events.out.tfevents.SECONDS.HOST.PID.  step > 0: a run that goes on after that
 * step; readers then forget what other files of the folder have behind it.  Errors: IO. */
pn_status pn_events_open(const char *folder, int64_t step, pn_events **out);
/* tag: "loss/train"; a value that is not finite is left out.  Errors are kept for flush. */
void pn_events_scalar(pn_events *e, const char *tag, int64_t step, double value);
pn_status pn_events_flush(pn_events *e);
void pn_events_close(pn_events *e); /* NULL is allowed */

#endif
