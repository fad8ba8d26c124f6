/* memory.h -- resident memory of this process. */
#ifndef PN_PROF_MEMORY_H
#define PN_PROF_MEMORY_H

#include <stdint.h>

/* Forget the peak so far, so that a study's rows do not inherit it.  Where the kernel does not
 * allow that the peak stays that of the whole process. */
void pn_memory_reset_peak(void);
int64_t pn_memory_peak(void); /* bytes, largest resident set since the reset */
int64_t pn_memory_now(void);  /* bytes resident; 0 where the system does not tell */

#endif
