/* clock.h -- monotonic time and civil time. */
#ifndef PN_BASE_CLOCK_H
#define PN_BASE_CLOCK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
double pn_now(void);                           /* seconds, monotonic, arbitrary origin */
double pn_cpu_now(void);                       /* seconds that this process has computed */
double pn_process_age(void);                   /* seconds since it started; to 0.01 s; 0: unknown */
void pn_sleep(double seconds);                 /* sleeps, does not spin */
void pn_utc_text(char *out, size_t out_bytes); /* "2026-11-21T11:00:00Z" */
#ifdef __cplusplus
}
#endif
#endif
