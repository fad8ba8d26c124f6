/* peak_body.h -- multiply-adds that do not wait for each other; see small_conv_body.h. */

/* Twelve: two per cycle that take four cycles each, with some to spare.  The empty statements keep
 * each in a register, and from being left out. */
#define PEAK_ADD(x)                                                                                \
  do {                                                                                             \
    x = x * s + s;                                                                                 \
    __asm__ volatile("" : "+v"(x));                                                                \
  } while (0)

static float peak_chains(int64_t rounds, float scale) {
  vec s = scale - (vec){0}, a = s, b = s, c = s, d = s, e = s, f = s, g = s, h = s, i = s, j = s,
      k = s, l = s;
  for (int64_t n = 0; n < rounds; n++) {
    PEAK_ADD(a);
    PEAK_ADD(b);
    PEAK_ADD(c);
    PEAK_ADD(d);
    PEAK_ADD(e);
    PEAK_ADD(f);
    PEAK_ADD(g);
    PEAK_ADD(h);
    PEAK_ADD(i);
    PEAK_ADD(j);
    PEAK_ADD(k);
    PEAK_ADD(l);
  }
  return (a + b + c + d + e + f + g + h + i + j + k + l)[0];
}
#undef PEAK_ADD
