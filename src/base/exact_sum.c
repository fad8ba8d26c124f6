/* exact_sum.c -- a long fixed-point number with lazy carries. */
#include "base/exact_sum.h"

#include <math.h>

enum { BIAS = 1152, NOT_FINITE = PN_EXACT_DIGITS - 1 };
static const uint64_t MASK = 0xffffffffu;

void pn_exact_sum_add(pn_exact_sum *s, double x) {
  int e, at, shift;
  uint64_t m, lo, hi;

  if (!isfinite(x)) s->digit[NOT_FINITE]++;
  if (!isfinite(x) || x == 0) return;
  m = (uint64_t)ldexp(frexp(x, &e), 53); /* x = m 2^(e - 53) */
  at = e - 53 + BIAS;
  shift = at % 32;
  lo = (m & MASK) << shift;
  hi = (m >> 32) << shift;
  s->digit[at / 32] += (int64_t)(lo & MASK);
  s->digit[at / 32 + 1] += (int64_t)((lo >> 32) + (hi & MASK));
  s->digit[at / 32 + 2] += (int64_t)(hi >> 32);
}

/* Rounded from the top: a function of the number alone, since carries are done first. */
double pn_exact_sum_value(const pn_exact_sum *s) {
  int64_t digit[NOT_FINITE], carry = 0;
  double sum = 0;

  if (s->digit[NOT_FINITE]) return NAN;
  for (int k = 0; k < NOT_FINITE; k++) {
    int64_t d = s->digit[k] + carry;
    digit[k] = d & (int64_t)MASK;
    carry = d >> 32;
  }
  for (int k = NOT_FINITE - 1; k >= 0; k--) sum += ldexp((double)digit[k], 32 * k - BIAS);
  return sum;
}
