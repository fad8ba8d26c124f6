/* bench_batch.c -- random images in memory, as a benchmark's data. */
#include "report/bench_batch.h"

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

static int64_t count_classes(const pn_graph *g) {
  int64_t classes = 2;

  for (int i = 0; i < pn_graph_n_nodes(g); i++) {
    const pn_op_desc *op = &pn_graph_node(g, i)->op;
    if (op->kind == PN_OP_SOFTMAX_CE) classes = op->in.dim[1];
  }
  return classes;
}

/* Uniform and independent, as the peers' torch.rand: kernels that leave zeros out, and branches,
 * are faster on numbers with a pattern. */
pn_status pn_bench_batch_make(const pn_graph *g, int64_t images, pn_bench_batch *out) {
  pn_rng rng = pn_rng_make(1, PN_RNG_SYNTH, 0, 0);

  *out = (pn_bench_batch){.images = images, .classes = count_classes(g)};
  out->pixels = pn_shape_count(pn_graph_node(g, 0)->op.out) * images;
  out->image = malloc((size_t)out->pixels * sizeof *out->image);
  out->id = malloc((size_t)images * sizeof *out->id);
  out->scale = malloc((size_t)images * sizeof *out->scale);
  if (!out->image || !out->id || !out->scale) {
    pn_bench_batch_free(out);
    return PN_FAIL(PN_ERR_NOMEM, "benchmark: no memory for %lld images", (long long)images);
  }
  for (int64_t i = 0; i < out->pixels; i++) out->image[i] = pn_rng_uniform(&rng);
  for (int64_t i = 0; i < images; i++) {
    out->id[i] = (uint64_t)i;
    out->scale[i] = 1.0f / (float)images;
  }
  return PN_OK;
}

void pn_bench_batch_free(pn_bench_batch *b) {
  free(b->image);
  free(b->id);
  free(b->scale);
  *b = (pn_bench_batch){0};
}

void pn_bench_batch_load(const pn_bench_batch *b, pn_plan *plan) {
  memcpy(pn_plan_input(plan), b->image, (size_t)b->pixels * sizeof *b->image);
  for (int64_t i = 0; i < b->images; i++) pn_plan_labels(plan)[i] = (int32_t)(i % b->classes);
}

pn_step_ctx pn_bench_batch_context(const pn_bench_batch *b) {
  return (pn_step_ctx){.seed = 1, .epoch = 1, .sample_id = b->id, .sample_scale = b->scale};
}
