/* exact_sum.h -- sums of doubles >= 0 without rounding: the same value in any order, on any number
 * of ranks (digits are added).  For norms, where a few nanoseconds per element do not matter. */
#ifndef PN_BASE_EXACT_SUM_H
#define PN_BASE_EXACT_SUM_H

#include <stdint.h>

/* digit[k] counts units of 2^(32 k - 1152).  One addition adds less than 2^33 to a digit, so 2^30
 * of them fit. */
enum { PN_EXACT_DIGITS = 70 };
typedef struct {
  int64_t digit[PN_EXACT_DIGITS];
} pn_exact_sum;

/* x >= 0; one that is not finite makes the sum NaN. */
void pn_exact_sum_add(pn_exact_sum *s, double x);
double pn_exact_sum_value(const pn_exact_sum *s);

#endif
