/* machine.h -- what a reader must know about the machine to judge a timing. */
#ifndef PN_REPORT_MACHINE_H
#define PN_REPORT_MACHINE_H

#include "comm/comm.h"

#include <jansson.h>

/* {"date", "cpu", "simd", "governor", "load_1min", "ranks": [{"rank", "host", "cores",
 * "n_cores"}]}; a fact the system does not tell is left out.  Collective, agreed; *out (new
 * reference) is NULL on ranks other than 0. */
pn_status pn_machine_json(pn_comm *c, json_t **out);

#endif
