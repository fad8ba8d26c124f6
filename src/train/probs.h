/* probs.h -- from logits to probabilities; private to src/train. */
#ifndef PN_TRAIN_PROBS_H
#define PN_TRAIN_PROBS_H

#include "nn/graph.h"

int pn_graph_outputs(const pn_graph *g); /* logits per image: what the loss reads; 0: no loss */
/* n x k; k = 1: sigmoid, the probability of class 1 of two; else softmax. */
void pn_probs(const float *logits, int64_t n, int k, float *probs);
/* Of two answers to the same images: probs becomes the mean. */
void pn_probs_mean(float *probs, const float *other, int64_t n);
/* losses, cross-entropies of the two, become those of the mean of the probabilities. */
void pn_losses_mean(float *losses, const float *other, int64_t n);

#endif
