/* option_value.h -- one value of one option: text to number, checked. */
#ifndef PN_CLI_OPTION_VALUE_H
#define PN_CLI_OPTION_VALUE_H

#include "cli/options.h"

typedef struct {
  int64_t i; /* INT, BOOL */
  double f;  /* FLOAT, INT */
  int64_t hw[2];
} pn_option_value;

/* "auto" is a legal value where it is the default: zero.  Errors: ARG; the message starts with
 * `where` ("FILE:LINE: " or ""). */
pn_status pn_option_parse(const pn_option *row, const char *text, const char *where,
                          pn_option_value *out);

/* What may stand there: "an integer in [1, 4096]", "one of sgd, adam". */
void pn_option_expects(const pn_option *row, char *out, size_t out_bytes);
/* The same for a column of help: "1 .. 4096", "sgd|adam", "text". */
void pn_option_range(const pn_option *row, char *out, size_t out_bytes);

#endif
