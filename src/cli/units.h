/* units.h -- numbers for people: grouped digits and prefixes, always with the unit. */
#ifndef PN_CLI_UNITS_H
#define PN_CLI_UNITS_H

#include <stdint.h>

enum { PN_UNIT_TEXT = 32 };

/* A short text by value: usable inside a printf call. */
typedef struct {
  char s[PN_UNIT_TEXT];
} pn_text;

pn_text pn_text_count(int64_t n);    /* "8,407,681" */
pn_text pn_text_bytes(double bytes); /* "512 B", "32.1 MiB" */
pn_text pn_text_flop(double flop);   /* "38.2 MFLOP" */
pn_text pn_text_ms(double ms);       /* "12.3 ms" */
pn_text pn_text_seconds(double s);   /* "0.82 s", "12 min 05 s" */
pn_text pn_text_share(double x);     /* "0.8125"; "undefined" for NaN */

#endif
