/* cudnn.c -- convolutions by cuDNN 9, opened when the program runs: graphs of it (dnn.h) with bias
 * and ReLU, or the sums for a norm, in one, the engine that was the fastest of those tried, once
 * per shape (algorithms.h). */
#include "dnn.h"

#include "base/log.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cu_dnn_destroy(struct cu_dnn *d) {
  if (!d) return;
  if (d->described) d->call.drop(d->described);
  if (d->handle) d->call.destroy(d->handle);
  if (d->library) dlclose(d->library);
  free(d);
}

pn_status cu_dnn_load(struct cu_dnn **out) {
  static const char *const names[] = {"libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9", NULL};
  struct cu_dnn *d = calloc(1, sizeof *d);
  const cu_symbol symbols[] = {
#define SYMBOL(field, function) {#function, d ? &d->call.field : NULL},
      CU_DNN_FUNCTIONS(SYMBOL)};
  pn_status st = PN_OK;

  *out = NULL;
  if (!d) return PN_FAIL(PN_ERR_NOMEM, "cuDNN");
  if (!(d->library = cu_library(names))) goto done;
  PN_TRY(cu_symbols(d->library, symbols, (int)(sizeof symbols / sizeof *symbols)));
  *out = d;
  d = NULL;
done:
  cu_dnn_destroy(d);
  return st;
}

pn_status cu_dnn_create(cu_gpu_state *g, struct cu_dnn **out) {
  struct cu_dnn *d = NULL;
  pn_status st;

  *out = NULL;
  if ((st = cu_dnn_load(&d)) != PN_OK || !d) return st;
  d->gpu = g;
  d->tf32 = g->tf32;
  d->loose = g->loose;
  PN_TRY(cu_dnn_check(d, d->call.create(&d->handle), "cudnnCreate"));
  PN_TRY(cu_dnn_check(d, d->call.set_stream(d->handle, g->stream), "cudnnSetStream"));
  *out = d;
  d = NULL;
done:
  cu_dnn_destroy(d);
  return st;
}

static void conv_destroy(void *plan) {
  cu_prepared *c = plan;
  if (!c) return;
  if (c->pack) c->dnn->call.drop(c->pack);
  if (c->plan) c->dnn->call.drop(c->plan);
  cu_dnn_choices_free(c->dnn, &c->choices);
  cu_dnn_graph_free(&c->graph);
  free(c);
}

/* Which memory a run takes. */
static pn_status make_pack(cu_prepared *c, const cu_operands *o) {
  int64_t id[6] = {CU_UID_X, CU_UID_W, CU_UID_Y}, n = 3;
  void *at[6] = {o->x, o->w, o->y};
  const struct cu_dnn *d = c->dnn;
  pn_status st;

  if (c->job.pass == PN_FORWARD && c->job.bias) {
    id[n] = CU_UID_BIAS;
    at[n++] = o->bias;
  } else if (c->job.stats) {
    id[n] = CU_UID_SUM;
    at[n++] = o->stats;
    id[n] = CU_UID_SQUARES;
    at[n++] = (float *)o->stats + c->job.shape.o;
  }

  if (c->pack) d->call.drop(c->pack);
  c->pack = NULL;
  PN_TRY(cu_dnn_make(d, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &c->pack));
  PN_TRY(cu_dnn_set(d, c->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, id));
  PN_TRY(cu_dnn_set(d, c->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, at));
  PN_TRY(cu_dnn_set(d, c->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                    &o->scratch));
  PN_TRY(cu_dnn_finish(d, c->pack, "operands"));
  c->last = *o;
done:
  return st;
}

static bool same_operands(const cu_operands *a, const cu_operands *b) {
  return a->x == b->x && a->w == b->w && a->y == b->y && a->bias == b->bias &&
         a->stats == b->stats && a->scratch == b->scratch;
}

/* Sums start at 0 for engines that add to what is there. */
pn_status cu_dnn_run(void *prepared, const cu_operands *o) {
  cu_prepared *c = prepared;
  size_t bytes = 2 * (size_t)c->job.shape.o * sizeof(float);
  pn_status st = PN_OK;

  if (!c->pack || !same_operands(&c->last, o)) PN_TRY(make_pack(c, o));
  if (c->job.stats)
    PN_TRY(cu_check(cudaMemsetAsync(o->stats, 0, bytes, c->dnn->gpu->stream), "sums of a norm"));
  PN_TRY(
      cu_dnn_check(c->dnn, c->dnn->call.execute(c->dnn->handle, c->plan, c->pack), "convolution"));
done:
  return st;
}

static pn_status prepare(struct cu_dnn *d, const cu_conv_job *job, cu_prepared **out) {
  cu_prepared *c = calloc(1, sizeof *c);
  pn_status st;

  *out = NULL;
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "cuDNN: convolution");
  c->dnn = d;
  c->job = *job;
  PN_TRY(cu_dnn_graph_make(d, job, &c->graph));
  PN_TRY(cu_dnn_choices_find(d, c->graph.graph, job, &c->choices));
  PN_TRY(cu_dnn_choose(c));
  *out = c;
  c = NULL;
done:
  conv_destroy(c);
  return st;
}

/* Sums in one where that is faster: a search is followed by a comparison. */
static pn_status prepare_stats(struct cu_dnn *d, const cu_conv_job *job, cu_prepared **out) {
  cu_conv_job bare = *job;
  cu_prepared *c = NULL, *plain = NULL;
  pn_status st;

  *out = NULL;
  bare.stats = false;
  PN_TRY(prepare(d, job, &c));
  if (c->timed) {
    PN_TRY(prepare(d, &bare, &plain));
    PN_TRY(cu_dnn_weigh(c, plain));
  }
  *out = c;
  c = NULL;
done:
  conv_destroy(plain);
  conv_destroy(c);
  return st;
}

/* Without bias and ReLU, or sums, where there is no engine with them: a kernel of our own follows.
 */
pn_status cu_dnn_conv(void *impl, const cu_conv_job *job, cu_call *out) {
  struct cu_dnn *d = ((cu_gpu_state *)impl)->dnn;
  cu_conv_job plain = *job;
  cu_prepared *c = NULL;
  pn_status st = PN_ERR_UNSUPPORTED;

  *out = (cu_call){.run = NULL};
  if (job->stats && job->shape.o % CU_LANES == 0) /* squares start at 16 bytes */
    st = prepare_stats(d, job, &c);
  plain.stats = false;
  if (!c) st = prepare(d, &plain, &c);
  plain.bias = plain.relu = false;
  if (st == PN_ERR_UNSUPPORTED && job->pass == PN_FORWARD && (job->bias || job->relu))
    st = prepare(d, &plain, &c);
  if (st == PN_ERR_UNSUPPORTED || st == PN_ERR_DEVICE) {
    pn_warn("a convolution of %u channels runs by a slow kernel of our own: %s", job->shape.c,
            pn_last_error());
    return PN_ERR_UNSUPPORTED;
  }
  if (st != PN_OK) return st;
  *out = (cu_call){.run = cu_dnn_run,
                   .destroy = conv_destroy,
                   .plan = c,
                   .scratch_bytes = c->algorithm.bytes,
                   .complete = c->job.pass == PN_FORWARD && c->job.bias == job->bias &&
                               c->job.relu == job->relu,
                   .half_bias = job->bias && job->type != PN_F32,
                   .half_weight = job->type != PN_F32,
                   .stats = c->job.stats};
  out->half_bias = out->half_bias && out->complete;
  snprintf(out->impl, sizeof out->impl, "cudnn:%d%s%s%s", c->algorithm.math,
           out->complete && job->bias ? "+bias" : "", out->complete && job->relu ? "+relu" : "",
           out->stats ? "+stats" : "");
  return PN_OK;
}
