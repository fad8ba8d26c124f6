/* probs.h -- from logits to probabilities; private to src/train. */
#ifndef PN_TRAIN_PROBS_H
#define PN_TRAIN_PROBS_H

#include "nn/graph.h"

int pn_graph_outputs(const pn_graph *g); /* logits per image: what the loss reads; 0: no loss */
/* n x k; k = 1: sigmoid, the probability of class 1 of two; else softmax. */
void pn_probs(const float *logits, int64_t n, int k, float *probs);

#endif
