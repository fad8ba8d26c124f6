/* groups.h -- which parameters learn how: by patterns of their names, in the shell's form (*, ?,
 * [abc]).  "layer1.*" is all of a block, "*.bias" all biases. */
#ifndef PN_OPTIM_GROUPS_H
#define PN_OPTIM_GROUPS_H

#include "nn/graph.h"

/* Of one parameter. */
typedef struct {
  double lr, decay; /* factors on learning rate and weight decay */
  bool adapt;       /* lars: has a trust ratio */
  bool frozen;
} pn_group;

enum { PN_GROUP_TEXT = 1024 };
typedef struct {
  char freeze[PN_GROUP_TEXT]; /* patterns with commas between; "" = none */
  char groups[PN_GROUP_TEXT]; /* "PATTERN:lr=X:decay=Y,..."; first match counts; "" = none */
  bool decay_all;             /* weight decay on biases and norms too (PyTorch's default) */
} pn_group_config;

/* out: one per parameter of g.  Errors: ARG (form; a pattern that matches nothing: names some that
 * there are; everything is frozen). */
pn_status pn_groups_make(const pn_graph *g, const pn_group_config *c, pn_group *out);

/* Set marks[i] for every parameter of g that a pattern of the list (commas between) matches.
 * Errors: ARG (a pattern that matches nothing: names `option` and some parameters). */
pn_status pn_groups_select(const pn_graph *g, const char *option, const char *list, bool *marks);

#endif
