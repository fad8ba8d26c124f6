/* csv.h -- rows of a CSV text: BOM, CRLF, quotes, `,` or `;`, blank lines, no last newline. */
#ifndef PN_DATA_CSV_H
#define PN_DATA_CSV_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_CSV_MAX_FIELDS = 32 };

/* Cursor over a text that it cuts in place.  Fields are trimmed of blanks outside quotes. */
typedef struct {
  const char *name; /* of the file, for messages; borrowed */
  char *at, *end;   /* borrowed: the caller's text, NUL-terminated at end */
  char delimiter;   /* found in the first line */
  int64_t line;     /* of the row last read, from 1 */
  int64_t next_line;
  int n_fields;
  char *field[PN_CSV_MAX_FIELDS]; /* of the row last read */
} pn_csv;

/* text[bytes] must be 0; it is modified.  Errors: FORMAT (a NUL byte inside, not text). */
pn_status pn_csv_start(pn_csv *c, const char *name, char *text, size_t bytes);
/* Next row that is not blank; *more is false at the end.  Errors: FORMAT with file, line, column.
 */
pn_status pn_csv_next(pn_csv *c, bool *more);
/* Column number of each wanted name in the header row last read (any order, any letter case).
 * Errors: FORMAT names the missing one. */
pn_status pn_csv_columns(const pn_csv *c, const char *const *names, int n, int *column);
/* A field as a number; an empty field is NaN.  Errors: FORMAT with file, line, column. */
pn_status pn_csv_number(const pn_csv *c, int column, const char *what, double *out);

#endif
