/* probs.c -- see probs.h. */
#include "train/probs.h"

#include <math.h>

int pn_graph_outputs(const pn_graph *g) {
  for (int i = pn_graph_n_nodes(g) - 1; i >= 0; i--) {
    const pn_op_desc *op = &pn_graph_node(g, i)->op;
    if (op->kind == PN_OP_BCE || op->kind == PN_OP_SOFTMAX_CE) return (int)op->in.dim[1];
  }
  return 0;
}

static void softmax(const float *logit, int k, float *prob) {
  double top = (double)logit[0], sum = 0;

  for (int c = 1; c < k; c++) top = fmax(top, (double)logit[c]);
  for (int c = 0; c < k; c++) sum += exp((double)logit[c] - top);
  for (int c = 0; c < k; c++) prob[c] = (float)(exp((double)logit[c] - top) / sum);
}

void pn_probs(const float *logits, int64_t n, int k, float *probs) {
  for (int64_t i = 0; i < n; i++) {
    if (k == 1)
      probs[i] = (float)(1 / (1 + exp(-(double)logits[i])));
    else
      softmax(logits + i * k, k, probs + i * k);
  }
}

void pn_probs_mean(float *probs, const float *other, int64_t n) {
  for (int64_t i = 0; i < n; i++) probs[i] = 0.5f * (probs[i] + other[i]);
}

/* -log((exp(-a) + exp(-b)) / 2), also where exp(-a) would be 0. */
void pn_losses_mean(float *losses, const float *other, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double a = (double)losses[i], b = (double)other[i];
    losses[i] = (float)(fmin(a, b) + log(2) - log1p(exp(-fabs(a - b))));
  }
}
