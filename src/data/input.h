/* input.h -- one input file into memory (dicom_file.c). */
#ifndef PN_DATA_INPUT_H
#define PN_DATA_INPUT_H

#include "base/status.h"
#include "data/reject.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Start as {0}; the buffer is reused. */
typedef struct {
  uint8_t *data; /* owned: pn_input_free */
  size_t bytes, capacity;
} pn_input;
/* A whole regular file, never blocking; size and time must not change meanwhile.  *why: it cannot
 * be read; PN_OK then too.  Errors: NOMEM. */
pn_status pn_input_read(pn_input *in, const char *path, pn_reject *why);
void pn_input_free(pn_input *in);

#ifdef __cplusplus
}
#endif
#endif
