/* common.c -- what the builders share. */
#include "models/builders.h"

#include <inttypes.h>

pn_window pn_square(int64_t kernel, int64_t stride, int64_t pad) {
  return (pn_window){.kernel = {kernel, kernel},
                     .stride = {stride, stride},
                     .pad_before = {pad, pad},
                     .pad_after = {pad, pad}};
}

int64_t pn_own(int64_t configured, int64_t own) {
  return configured > 0 ? configured : own;
}

float pn_own_dropout(const pn_model_config *cfg, float own) {
  return cfg->dropout < 0.0f ? own : cfg->dropout;
}

pn_status pn_build_head(const pn_model_config *cfg, pn_graph *g, const char *dense, int *at) {
  pn_status st = PN_OK;

  if (!cfg->softmax && cfg->classes != 2)
    return PN_FAIL(PN_ERR_ARG,
                   "%s: %" PRId64 " classes with a sigmoid head, which knows 2; "
                   "use the softmax head",
                   pn_graph_name(g), cfg->classes);
  PN_TRY(pn_graph_dense(g, dense, *at, cfg->softmax ? cfg->classes : 1, at));
  PN_TRY(pn_graph_loss(g, "loss", *at, cfg->softmax ? PN_OP_SOFTMAX_CE : PN_OP_BCE, at));
done:
  return st;
}
