/* reject.h -- why one input file was not written: one row of rejects.csv. */
#ifndef PN_DATA_REJECT_H
#define PN_DATA_REJECT_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PN_REASON_BYTES = 40, PN_REJECT_TAG_BYTES = 24, PN_VALUE_BYTES = 96 };

/* reason[0] == 0: not rejected.  Never holds a patient's name, date or UID. */
typedef struct {
  char reason[PN_REASON_BYTES];  /* stable snake_case code: docs/shards.md lists them */
  char tag[PN_REJECT_TAG_BYTES]; /* "(0028,0010)" or "line 17" or "" */
  char value[PN_VALUE_BYTES];    /* what was found, and what was expected */
} pn_reject;

/* Fill *r; tag may be NULL.  Always returns true, so that checks read `return pn_reject_set(...)`.
 */
bool pn_reject_set(pn_reject *r, const char *reason, const char *tag, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#ifdef __cplusplus
}
#endif
#endif
