/* status.h -- every fallible function returns a pn_status; 0 is success. */
#ifndef PN_BASE_STATUS_H
#define PN_BASE_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  PN_OK = 0,
  PN_ERR_ARG,         /* caller passed something invalid; usage or configuration */
  PN_ERR_NOMEM,       /* host or device memory                      */
  PN_ERR_IO,          /* open/read/write failed                     */
  PN_ERR_FORMAT,      /* file opened, content is not what we expect */
  PN_ERR_UNSUPPORTED, /* valid request, this build or backend cannot do it */
  PN_ERR_DEVICE,      /* CUDA / cuDNN / cuBLAS / oneDNN             */
  PN_ERR_COMM,        /* MPI / NCCL                                 */
  PN_ERR_TIMEOUT,     /* a collective did not finish in time        */
  PN_ERR_PEER,        /* this rank is fine, another one failed      */
  PN_ERR_NUMERIC,     /* NaN or Inf where a finite number is needed */
  PN_ERR_STOPPED      /* a signal asked to stop; the state is saved */
} pn_status;

/* Record "what went wrong" once, where it is known; returns st.  Thread-safe (per thread). */
pn_status pn_fail(pn_status st, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
const char *pn_status_name(pn_status st); /* "ok", "argument", "io", ... */
const char *pn_last_error(void);          /* "file.c:12: message" of the last pn_fail, never NULL */
/* Process exit code of a status: 0 ok, 2 usage or configuration (ARG), 4 watchdog (TIMEOUT),
 * 75 STOPPED, else 1. */
int pn_status_exit_code(pn_status st);
void pn_error_set_agreed(void); /* called by pn_agree: all ranks know */
bool pn_error_agreed(void);     /* false again after the next pn_fail */

#define PN_FAIL(st, ...) pn_fail((st), __FILE__, __LINE__, __VA_ARGS__)

/* The only control-flow macro in the program.  Needs a local `pn_status st`
 * and one label `done:` that releases everything (free(NULL)-style). */
#define PN_TRY(expr)                                                                               \
  do {                                                                                             \
    if ((st = (expr)) != PN_OK) goto done;                                                         \
  } while (0)

#ifdef __cplusplus
}
#endif
#endif
