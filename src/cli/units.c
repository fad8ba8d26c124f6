/* units.c -- see units.h. */
#include "cli/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

pn_text pn_text_count(int64_t n) {
  char digits[PN_UNIT_TEXT];
  pn_text t = {""};
  int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;

  for (int i = 0; i < len && at < PN_UNIT_TEXT - 2; i++) {
    if (i > (digits[0] == '-') && (len - i) % 3 == 0) t.s[at++] = ',';
    t.s[at++] = digits[i];
  }
  t.s[at] = '\0';
  return t;
}

/* Three significant digits, "1.00" to "999". */
static pn_text scaled(double x, double step, const char *const *units, int n) {
  pn_text t;
  int i = 0;

  while (i + 1 < n && fabs(x) >= step * 0.9995) {
    x /= step;
    i++;
  }
  if (i == 0)
    snprintf(t.s, sizeof t.s, "%.0f %s", x, units[i]);
  else
    snprintf(t.s, sizeof t.s, "%.*f %s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, units[i]);
  return t;
}

pn_text pn_text_bytes(double bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(bytes, 1024, units, 5);
}

pn_text pn_text_flop(double flop) {
  static const char *const units[] = {"FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"};
  return scaled(flop, 1000, units, 5);
}

pn_text pn_text_ms(double ms) {
  pn_text t;
  snprintf(t.s, sizeof t.s, "%.*f ms", ms < 9.995 ? 2 : ms < 99.95 ? 1 : 0, ms);
  return t;
}

pn_text pn_text_seconds(double s) {
  pn_text t;
  long whole = lround(s);

  if (s < 99.5)
    snprintf(t.s, sizeof t.s, "%.*f s", s < 9.995 ? 2 : 1, s);
  else
    snprintf(t.s, sizeof t.s, "%ld min %02ld s", whole / 60, whole % 60);
  return t;
}

pn_text pn_text_share(double x) {
  pn_text t;
  if (isnan(x))
    snprintf(t.s, sizeof t.s, "undefined");
  else
    snprintf(t.s, sizeof t.s, "%.4f", x);
  return t;
}
