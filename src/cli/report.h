/* report.h -- how a run ends: results, errors, exit code. */
#ifndef PN_CLI_REPORT_H
#define PN_CLI_REPORT_H

#include "cli/cli.h"

/* Print the error of `st`: one `pneuma: ...` line on stderr by the lowest failing rank and, with
 * json, one object on stdout by rank 0.  Collective if the error is agreed upon (pn_error_agreed).
 *   result  fields that stand beside "error"; NULL = none
 * Returns the exit code, the same on all ranks. */
int pn_report_error(pn_comm *c, pn_status st, bool json, json_t *result);

/* The message without its "file.c:12: "; *place (may be NULL) gets that part, "" if none. */
const char *pn_message_text(const char *message, char *place, size_t place_bytes);

#endif
