/* cells.c -- formatting of single cells. */
#include "report/cells.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void pn_cells_put(pn_cells *l, const char *fmt, ...) {
  va_list ap;

  assert(l->n < PN_MAX_CELLS);
  va_start(ap, fmt);
  vsnprintf(l->text[l->n], PN_CELL_BYTES, fmt, ap);
  va_end(ap);
  l->cell[l->n] = l->text[l->n];
  l->n++;
}

void pn_cells_number(pn_cells *l, int decimals, double x, double scale) {
  if (isfinite(x))
    pn_cells_put(l, "%.*f", decimals, x * scale);
  else
    pn_cells_put(l, "-");
}

void pn_cells_digits(pn_cells *l, double x) {
  if (isfinite(x))
    pn_cells_put(l, "%.9g", x);
  else
    pn_cells_put(l, "%s", "");
}
