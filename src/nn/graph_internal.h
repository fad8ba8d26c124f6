/* graph_internal.h -- the graph's fields, for graph.c and graph_build.c only. */
#ifndef PN_NN_GRAPH_INTERNAL_H
#define PN_NN_GRAPH_INTERNAL_H

#include "nn/graph.h"

struct pn_graph {
  char name[PN_NAME_BYTES];
  pn_node *node; /* [n_nodes], owned */
  int n_nodes, nodes_room;
  pn_param *param; /* [n_params], owned */
  int n_params, params_room;
  int unit; /* of the nodes to come, like style */
  pn_graph_style style;
};

/* graph_build.c */
/* Checks the name and the inputs; fills what all nodes share.  The output is shaped like the first
 * input. */
pn_status pn_node_begin(const pn_graph *g, const char *name, const int *in, int n_in,
                        pn_op_kind kind, pn_node *out);
pn_status pn_node_add(pn_graph *g, const pn_node *node, int *out);
/* Parameter NAME.SUFFIX of the node. */
pn_status pn_node_param(pn_graph *g, const pn_node *node, const char *suffix, const pn_param *like,
                        int *out);
/* Height and width of the output of a window over the input. */
pn_status pn_node_window(const pn_node *node, const pn_window *w, int64_t out[2]);

#endif
