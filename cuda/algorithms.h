/* algorithms.h -- which algorithm of a library was the fastest for a shape: searched once, kept in
 * a file ($PN_CUDA_CACHE, else pneuma/algorithms.txt in $XDG_CACHE_HOME or ~/.cache). */
#ifndef PN_CUDA_ALGORITHMS_H
#define PN_CUDA_ALGORITHMS_H

#include "backend.h"

enum { CU_KEY_BYTES = 256 };

typedef struct {
  int number, math; /* place in the library's list for this shape, and which engine is there */
  size_t bytes;     /* of its workspace */
} cu_algorithm;

/* One line of text: GPU, library, arithmetic, pass and shape. */
void cu_algorithm_key(const char *gpu, int64_t library, bool tf32, const cu_conv_job *job,
                      char key[CU_KEY_BYTES]);
/* The newest entry; false: none, or no file. */
bool cu_algorithm_find(const char *key, cu_algorithm *out);
/* Appends.  A file that cannot be written costs a search in each run, and is no error. */
void cu_algorithm_keep(const char *key, const cu_algorithm *a);

#endif
