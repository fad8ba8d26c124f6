/* lock.h -- one writer per folder, among processes of one host or of many.
 *
 * The lock is flock on FOLDER/NAME: the kernel gives it back when a process dies, so a killed job
 * is no obstacle for the next one on the same machine.  The file also says who holds it, "PID HOST
 * JOB RESTART TOKEN BOOT", for what flock cannot decide: another machine, a file system without
 * locks. Then we refuse and say which file to remove; a lock is never taken from somebody who may
 * be alive. One exception: a Slurm job that was requeued takes it from its own earlier start, which
 * may still run on a node that was cut off.  That one finds another token in the file and must stop
 * writing. */
#ifndef PN_BASE_LOCK_H
#define PN_BASE_LOCK_H

#include "base/status.h"

enum { PN_LOCK_PATH_BYTES = 4096, PN_LOCK_TOKEN_BYTES = 17 };

typedef struct {
  int fd;                          /* -1: not held */
  char path[PN_LOCK_PATH_BYTES];   /* of the file */
  char token[PN_LOCK_TOKEN_BYTES]; /* random, of this holder */
  const char *what;                /* "training"; borrowed */
} pn_lock;

/* Make the folder and lock it; what: "ingest", "training", for the messages.  Errors: ARG (another
 * one is at work there, or may be: says who and what to do), IO. */
pn_status pn_lock_take(const char *folder, const char *name, const char *what, pn_lock *out);
/* Call it before anything in the folder is made visible.  Reads one small file.  Errors: IO: the
 * lock was taken over or removed (says by whom). */
pn_status pn_lock_check(const pn_lock *l);
void pn_lock_release(pn_lock *l); /* a lock that is not held, or no longer: nothing */

#endif
