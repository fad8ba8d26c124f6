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
  int unit; /* of the nodes to come */
};

#endif
