/* peak.h -- what the processor can do at most, measured: the roof that steps are compared with. */
#ifndef PN_DEVICE_PEAK_H
#define PN_DEVICE_PEAK_H

/* Largest rate seen of independent f32 multiply-adds (two FLOP each) of the vector width that the
 * CPU device uses, `threads` OpenMP threads together, in a few ms.  0: no such code here. */
double pn_peak_flops(int threads);
/* Largest rate seen of a[i] = b[i] + s * c[i] over arrays far larger than the caches' share of a
 * core, bytes read and written; 0: no memory for it. */
double pn_peak_bandwidth(int threads);

#endif
