/* tables.h -- one table, three renderings: aligned text, Markdown, CSV. */
#ifndef PN_REPORT_TABLES_H
#define PN_REPORT_TABLES_H

#include "base/status.h"

typedef struct {
  const char *name; /* heading; CSV heading is name and unit joined by '_' */
  const char *unit; /* "" = none; second heading line in text, "name (unit)" in Markdown */
  bool right;       /* numbers to the right, words to the left */
} pn_table_column;

typedef struct pn_table pn_table; /* opaque; owns copies of headings and cells */

/* *out owned by the caller (pn_table_destroy).  Errors: ARG (no column), NOMEM. */
pn_status pn_table_create(const pn_table_column *columns, int n_columns, pn_table **out);
void pn_table_destroy(pn_table *t); /* NULL is allowed */

/* Add one row of n_columns cells (UTF-8, copied; NULL = empty).  Errors: NOMEM. */
pn_status pn_table_add(pn_table *t, const char *const *cells);
int pn_table_rows(const pn_table *t);

/* Render the whole table; *out is NUL-terminated and owned by the caller (free).
 *   text      headings, units, a rule, rows; columns two spaces apart; no trailing blanks
 *   markdown  GitHub pipe table; '|' and line breaks in cells are escaped
 *   csv       RFC 4180 with '\n': cells with comma, quote or line break are quoted
 * Errors: NOMEM. */
pn_status pn_table_text(const pn_table *t, char **out);
pn_status pn_table_markdown(const pn_table *t, char **out);
pn_status pn_table_csv(const pn_table *t, char **out);

#endif
