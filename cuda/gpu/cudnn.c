/* cudnn.c -- convolutions by cuDNN 9, opened when the program runs: graphs of it (dnn.h) with bias
 * and ReLU in one, the engine that was the fastest of those tried, once per shape (algorithms.h).
 */
#include "dnn.h"

#include "../algorithms.h"

#include "base/log.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One prepared convolution.  The plan looks into its graph and its engine's settings. */
struct conv {
  struct cu_dnn *dnn; /* borrowed */
  cu_conv_job job;
  cu_dnn_graph graph;
  cu_dnn_choices choices; /* of these only the one chosen is kept */
  cu_desc plan, pack;     /* pack: the pointers of the last run; owned */
  cu_operands last;
  bool timed;
  cu_algorithm algorithm; /* number: place among the choices; math: the engine's number */
};

/* At most TRIED engines are timed, with at most MOST_BYTES of workspace. */
enum { TRIED = 8, WARM_UP = 2, RUNS = 5, MOST_BYTES = 1 << 30 };

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
  struct conv *c = plan;
  if (!c) return;
  if (c->pack) c->dnn->call.drop(c->pack);
  if (c->plan) c->dnn->call.drop(c->plan);
  cu_dnn_choices_free(c->dnn, &c->choices);
  cu_dnn_graph_free(&c->graph);
  free(c);
}

/* Which memory a run takes. */
static pn_status make_pack(struct conv *c, const cu_operands *o) {
  const int64_t id[] = {CU_UID_X, CU_UID_W, CU_UID_Y, CU_UID_BIAS};
  void *at[] = {o->x, o->w, o->y, o->bias};
  const int64_t n = c->job.pass == PN_FORWARD && c->job.bias ? 4 : 3;
  const struct cu_dnn *d = c->dnn;
  pn_status st;

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
         a->scratch == b->scratch;
}

static pn_status conv_run(void *plan, const cu_operands *o) {
  struct conv *c = plan;
  pn_status st = PN_OK;

  if (!c->pack || !same_operands(&c->last, o)) PN_TRY(make_pack(c, o));
  PN_TRY(
      cu_dnn_check(c->dnn, c->dnn->call.execute(c->dnn->handle, c->plan, c->pack), "convolution"));
done:
  return st;
}

/* Memory of the search alone. */
struct trial {
  cu_operands o;
  cudaEvent_t event[2];
};

static pn_status room(size_t bytes, void **out) {
  pn_status st = cu_check(cudaMalloc(out, bytes + 1), "room for a search");
  return st == PN_OK ? cu_check(cudaMemset(*out, 0, bytes + 1), "room for a search") : st;
}

static void trial_free(struct trial *t) {
  void *const at[] = {t->o.x, t->o.w, t->o.y, t->o.bias, t->o.scratch};
  for (size_t i = 0; i < sizeof at / sizeof *at; i++)
    if (at[i]) cudaFree(at[i]);
  for (int i = 0; i < 2; i++)
    if (t->event[i]) cudaEventDestroy(t->event[i]);
}

static pn_status trial_make(const cu_conv_job *job, struct trial *t) {
  const cu_conv *s = &job->shape;
  size_t bytes = pn_dtype_bytes(job->type), n = s->n;
  pn_status st;

  memset(t, 0, sizeof *t);
  PN_TRY(room(n * s->h * s->w * s->c * bytes, &t->o.x));
  PN_TRY(room((size_t)s->o * s->c * (size_t)(s->kernel[0] * s->kernel[1]) * bytes, &t->o.w));
  PN_TRY(room(n * s->oh * s->ow * s->o * bytes, &t->o.y));
  PN_TRY(room((size_t)s->o * bytes, &t->o.bias));
  for (int i = 0; i < 2; i++) PN_TRY(cu_check(cudaEventCreate(&t->event[i]), "event"));
done:
  return st;
}

/* Milliseconds of c->plan. */
static pn_status time_plan(struct conv *c, struct trial *t, size_t bytes, float *ms) {
  cudaStream_t stream = c->dnn->gpu->stream;
  pn_status st = PN_OK;

  if (t->o.scratch) cudaFree(t->o.scratch);
  t->o.scratch = NULL;
  PN_TRY(room(bytes, &t->o.scratch));
  for (int i = 0; i < WARM_UP + RUNS; i++) {
    if (i == WARM_UP) PN_TRY(cu_check(cudaEventRecord(t->event[0], stream), "event"));
    PN_TRY(conv_run(c, &t->o));
  }
  PN_TRY(cu_check(cudaEventRecord(t->event[1], stream), "event"));
  PN_TRY(cu_check(cudaEventSynchronize(t->event[1]), "search"));
  PN_TRY(cu_check(cudaEventElapsedTime(ms, t->event[0], t->event[1]), "search"));
done:
  return st;
}

static void drop_plan(struct conv *c) {
  if (c->pack) c->dnn->call.drop(c->pack);
  if (c->plan) c->dnn->call.drop(c->plan);
  c->pack = c->plan = NULL;
}

/* Choice i as c->plan.  UNSUPPORTED: it cannot be had, or wants too much memory. */
static pn_status try_choice(struct conv *c, int i, size_t *bytes) {
  pn_status st;

  drop_plan(c);
  if ((st = cu_dnn_plan(c->dnn, c->choices.config[i], &c->plan, bytes)) != PN_OK) return st;
  return *bytes <= MOST_BYTES ? PN_OK : PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: %zu bytes", *bytes);
}

/* Where there is no room to time any. */
static pn_status take_first(struct conv *c, cu_algorithm *best) {
  size_t bytes;

  for (int i = 0; i < c->choices.n; i++)
    if (try_choice(c, i, &bytes) == PN_OK) {
      *best = (cu_algorithm){.number = i, .math = c->choices.engine[i], .bytes = bytes};
      return PN_OK;
    }
  return PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: none of its engines can be had");
}

/* An engine that fails is passed over: another may not. */
static pn_status search(struct conv *c, cu_algorithm *best) {
  struct trial t;
  float ms, least = INFINITY;
  int tried = 0;
  size_t bytes;
  pn_status st = trial_make(&c->job, &t);

  c->timed = st == PN_OK;
  if (st == PN_ERR_NOMEM) {
    trial_free(&t);
    (void)cudaGetLastError();
    return take_first(c, best);
  }
  PN_TRY(st);
  for (int i = 0; i < c->choices.n && tried < TRIED; i++) {
    if (try_choice(c, i, &bytes) != PN_OK) continue;
    tried++;
    if (time_plan(c, &t, bytes, &ms) != PN_OK || !(ms < least)) continue;
    least = ms;
    *best = (cu_algorithm){.number = i, .math = c->choices.engine[i], .bytes = bytes};
  }
  (void)cudaGetLastError();
  if (!isfinite(least)) st = PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: none of its engines runs");
done:
  drop_plan(c);
  trial_free(&t);
  return st;
}

/* What the file says must still be so. */
static bool known(struct conv *c, const char *key) {
  cu_algorithm *a = &c->algorithm;
  size_t bytes = 0;

  return cu_algorithm_find(key, a) && a->number >= 0 && a->number < c->choices.n &&
         c->choices.engine[a->number] == a->math && try_choice(c, a->number, &bytes) == PN_OK &&
         bytes == a->bytes;
}

static pn_status choose(struct conv *c) {
  struct cu_dnn *d = c->dnn;
  char key[CU_KEY_BYTES];
  size_t bytes;
  pn_status st = PN_OK;

  cu_algorithm_key(d->gpu->name, (int64_t)d->call.version(), d->tf32, &c->job, key);
  if (d->loose) snprintf(key + strlen(key), sizeof key - strlen(key), "|loose");
  if (known(c, key)) return PN_OK;
  PN_TRY(search(c, &c->algorithm));
  if (c->timed) cu_algorithm_keep(key, &c->algorithm);
  PN_TRY(try_choice(c, c->algorithm.number, &bytes));
done:
  return st;
}

static pn_status prepare(struct cu_dnn *d, const cu_conv_job *job, struct conv **out) {
  struct conv *c = calloc(1, sizeof *c);
  pn_status st;

  *out = NULL;
  if (!c) return PN_FAIL(PN_ERR_NOMEM, "cuDNN: convolution");
  c->dnn = d;
  c->job = *job;
  PN_TRY(cu_dnn_graph_make(d, job, &c->graph));
  PN_TRY(cu_dnn_choices_find(d, c->graph.graph, job->type, &c->choices));
  PN_TRY(choose(c));
  *out = c;
  c = NULL;
done:
  conv_destroy(c);
  return st;
}

/* Without bias and ReLU where there is no engine with them: a kernel of our own follows. */
pn_status cu_dnn_conv(void *impl, const cu_conv_job *job, cu_call *out) {
  struct cu_dnn *d = ((cu_gpu_state *)impl)->dnn;
  cu_conv_job plain = *job;
  struct conv *c = NULL;
  pn_status st = prepare(d, job, &c);

  *out = (cu_call){.run = NULL};
  plain.bias = plain.relu = false;
  if (st == PN_ERR_UNSUPPORTED && job->pass == PN_FORWARD && (job->bias || job->relu))
    st = prepare(d, &plain, &c);
  if (st == PN_ERR_UNSUPPORTED || st == PN_ERR_DEVICE) {
    pn_warn("a convolution of %u channels runs by a slow kernel of our own: %s", job->shape.c,
            pn_last_error());
    return PN_ERR_UNSUPPORTED;
  }
  if (st != PN_OK) return st;
  *out = (cu_call){.run = conv_run,
                   .destroy = conv_destroy,
                   .plan = c,
                   .scratch_bytes = c->algorithm.bytes,
                   .complete = c->job.pass == PN_FORWARD && c->job.bias == job->bias &&
                               c->job.relu == job->relu,
                   .half_bias = job->bias && job->type != PN_F32,
                   .half_weight = job->type != PN_F32};
  out->half_bias = out->half_bias && out->complete;
  snprintf(out->impl, sizeof out->impl, "cudnn:%d%s%s", c->algorithm.math,
           out->complete && job->bias ? "+bias" : "", out->complete && job->relu ? "+relu" : "");
  return PN_OK;
}
