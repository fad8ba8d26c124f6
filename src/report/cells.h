/* cells.h -- the cells of one table row, filled from the left. */
#ifndef PN_REPORT_CELLS_H
#define PN_REPORT_CELLS_H

enum { PN_CELL_BYTES = 208, PN_MAX_CELLS = 40 };

typedef struct {
  char text[PN_MAX_CELLS][PN_CELL_BYTES];
  const char *cell[PN_MAX_CELLS]; /* what pn_table_add takes; points into text */
  int n;                          /* set to 0 before the first cell */
} pn_cells;

/* Text longer than a cell is cut; more than PN_MAX_CELLS cells is a bug of ours (assert). */
void pn_cells_put(pn_cells *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* x * scale with that many decimals; a dash where x is not finite. */
void pn_cells_number(pn_cells *l, int decimals, double x, double scale);
/* x with 9 significant digits; empty where x is not finite. */
void pn_cells_digits(pn_cells *l, double x);

#endif
