/* signals.h -- the wish to stop: SIGTERM, SIGUSR1, SIGUSR2 are noted, work goes on to a good place.
 * Slurm sends them before the time limit (--signal) and on pre-emption. */
#ifndef PN_BASE_SIGNALS_H
#define PN_BASE_SIGNALS_H

/* From now on the three signals are noted instead of ending the process, however often they come.
 */
void pn_signals_watch(void);
int pn_signals_caught(void);            /* the first that came, 0: none yet */
const char *pn_signal_name(int number); /* "SIGUSR1" */

#endif
