/* initial.h -- tensors of a weight file as the initial values of a graph's parameters, matched by
 * name; a report says what matched, what did not and why. */
#ifndef PN_INTEROP_INITIAL_H
#define PN_INTEROP_INITIAL_H

#include "interop/tensor_file.h"
#include "nn/graph.h"

#include <jansson.h>

/* Which parameters may keep their random values. */
typedef enum {
  PN_MAY_MISS_NONE,
  PN_MAY_MISS_HEAD, /* those of dense layers: another task; "notop" files */
  PN_MAY_MISS_ANY   /* but at least one must match */
} pn_may_miss;

typedef struct {
  pn_may_miss may_miss;
  const char *skip; /* patterns of parameters that keep their random values; NULL, "": none */
} pn_initial_rules;

typedef struct pn_initial pn_initial;

/* path: as pn_tensor_file_open.  Keras files whose layer names are all unknown here are matched by
 * position, when every shape agrees.  Not collective.  Errors: those of pn_tensor_file_open; FORMAT
 * with the first parameter that had to match and did not; ARG (a pattern of skip that matches
 * none). */
pn_status pn_initial_open(const char *path, const pn_graph *g, pn_initial_rules rules,
                          pn_initial **out); /* g: borrowed */
void pn_initial_close(pn_initial *x);

/* Logical value of parameter `param`; *found false: it keeps its random values. */
pn_status pn_initial_value(pn_initial *x, int param, float *logical, bool *found);

/* Names of the classes that the last dense layer learned, where its values were taken; borrowed.
 * NULL: they were not, or the file does not say. */
const json_t *pn_initial_classes(const pn_initial *x);

/* {"file", "format", "matched": N, "initialised": [{"name", "why"}], "unused": [names]}; new
 * reference, NULL: out of memory. */
json_t *pn_initial_json(const pn_initial *x);
void pn_initial_print(const pn_initial *x); /* the same by pn_info and pn_warn */

#endif
