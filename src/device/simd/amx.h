/* amx.h -- the tile unit of the processor (AMX): what the operating system and the processor say.
 */
#ifndef PN_DEVICE_SIMD_AMX_H
#define PN_DEVICE_SIMD_AMX_H

#include <stdbool.h>

/* bf16 tiles may be used by this process; asks the system for them. */
bool pn_amx_usable(void);
/* The processor has AMX, but (behind some hypervisors) does not describe its tiles: libraries that
 * read their size from CPUID fail.  The size is 16 rows of 64 bytes on all processors there are. */
bool pn_amx_hides_tiles(void);

#endif
