/* graph.h -- a network as nodes and parameters: no memory, no device, no batch size. */
#ifndef PN_NN_GRAPH_H
#define PN_NN_GRAPH_H

#include "base/status.h"
#include "device/op.h"

typedef struct pn_graph pn_graph;

enum { PN_NAME_BYTES = 64 };

/* U(-bound, bound) for UNIFORM, N(0, bound^2) for NORMAL; small_cnns.md 3.7. */
typedef enum { PN_INIT_ZERO, PN_INIT_ONE, PN_INIT_UNIFORM, PN_INIT_NORMAL } pn_init_kind;

/* How weights are named and initialised by default. */
typedef enum {
  PN_STYLE_TORCH,       /* conv1.weight; U(+-1/sqrt(fan_in)) for weights and biases */
  PN_STYLE_TORCHVISION, /* the same names; N(0, 2/fan_out), biases 0 */
  PN_STYLE_KERAS        /* conv1.kernel, bn.moving_mean; Glorot uniform, biases 0 */
} pn_graph_style;

typedef struct {
  char name[PN_NAME_BYTES]; /* "conv1.weight" */
  pn_shape shape;           /* logical: O I H W, O I or O */
  int unit;                 /* sharding block it belongs to */
  bool uncounted;           /* running statistics as PyTorch sees them; Keras counts them */
  bool trainable;           /* has a gradient; running statistics do not */
  bool decay;               /* takes weight decay (weights yes, biases no) */
  pn_init_kind init;
  double bound;
} pn_param;

typedef struct {
  pn_op_desc op;              /* shapes with batch dimension 1 (node.out of a conv: 1 C H W) */
  char name[PN_NAME_BYTES];   /* "conv1" */
  int input[PN_MAX_INPUTS];   /* node indices, -1 for none */
  int weight, bias;           /* parameter index or -1 */
  int gamma, beta, mean, var; /* of a norm, else -1 */
  int unit;
} pn_node;

pn_status pn_graph_create(const char *name, pn_graph **out);
void pn_graph_destroy(pn_graph *g);

/* Builders return the new node's index through *out.  Errors: ARG with the node's name and shapes.
 */
pn_status pn_graph_input(pn_graph *g, int64_t channels, int64_t height, int64_t width, int *out);
pn_status pn_graph_conv(pn_graph *g, const char *name, int in, int64_t filters, pn_window w,
                        int *out);
/* The same without bias. */
pn_status pn_graph_conv_bare(pn_graph *g, const char *name, int in, int64_t filters, pn_window w,
                             int *out);
pn_status pn_graph_dense(pn_graph *g, const char *name, int in, int64_t units, int *out);
pn_status pn_graph_relu(pn_graph *g, const char *name, int in, int *out);
pn_status pn_graph_maxpool(pn_graph *g, const char *name, int in, pn_window w, int *out);
pn_status pn_graph_dropout(pn_graph *g, const char *name, int in, float rate, int *out);
/* Running statistics start as mean 0, variance 1. */
pn_status pn_graph_norm(pn_graph *g, const char *name, int in, pn_norm norm, int *out);
pn_status pn_graph_add(pn_graph *g, const char *name, int a, int b, int *out);
pn_status pn_graph_concat(pn_graph *g, const char *name, const int *in, int n, int *out);
pn_status pn_graph_avgpool(pn_graph *g, const char *name, int in, pn_window w, bool pad_counts,
                           int *out);
/* w: the paddings alone. */
pn_status pn_graph_zeropad(pn_graph *g, const char *name, int in, pn_window w, int *out);
/* kind: GAP, UPSAMPLE, SIGMOID, SILU or SOFTMAX. */
pn_status pn_graph_simple(pn_graph *g, const char *name, int in, pn_op_kind kind, int *out);
/* The head: kind is PN_OP_BCE (1 logit) or PN_OP_SOFTMAX_CE.  The logits are node `in`. */
pn_status pn_graph_loss(pn_graph *g, const char *name, int in, pn_op_kind kind, int *out);
void pn_graph_next_unit(pn_graph *g); /* nodes added from now on belong to the next unit */
void pn_graph_set_style(pn_graph *g, pn_graph_style s); /* of nodes to come; at first TORCH */

const char *pn_graph_name(const pn_graph *g);
int pn_graph_n_nodes(const pn_graph *g);
const pn_node *pn_graph_node(const pn_graph *g, int i);
int pn_graph_n_params(const pn_graph *g);
const pn_param *pn_graph_param(const pn_graph *g, int i);
int pn_graph_n_units(const pn_graph *g);
int64_t
pn_graph_param_count(const pn_graph *g); /* elements, logical, as the model's framework counts */
int64_t pn_graph_trainable_count(const pn_graph *g); /* of those with a gradient */
int64_t pn_graph_flop(const pn_graph *g);            /* forward, one image */

/* Parameter i stays as it is: no gradient any more; of running statistics: their norm takes them in
 * training too and leaves them alone.  Before plans are made of the graph. */
void pn_graph_freeze(pn_graph *g, int i);
int pn_graph_frozen_norms(const pn_graph *g); /* norms that take their running statistics */

/* Logical initial values of parameter i: the same for any device and rank count. */
void pn_graph_init_param(const pn_graph *g, int i, uint64_t seed, float *out);

#endif
