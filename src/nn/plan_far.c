/* plan_far.c -- plans on devices with memory of their own: what the caller sees stays in host
 * memory, and is copied where a run begins, enters a unit, and ends. */
#include "nn/plan_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* Host copies of what the caller fills and reads, and far copies of what it lends. */
struct pn_plan_far {
  float *input, *logits, *losses; /* host, owned (from the device: fast to copy) */
  int32_t *labels;
  bool filled; /* input and labels are the caller's work, on the device */
  size_t input_bytes, logits_bytes;
  float *params, *grads;           /* far: mirrors of the host's, made when first needed; owned */
  float *lent_params, *lent_grads; /* far, instead of them; borrowed; NULL: none */
  void *id, *scale, *label2, *mix;
  struct captured {
    void *graph;     /* owned; NULL: none */
    pn_step_ctx key; /* of the run before: what kernels take as numbers */
    bool seen, refused;
  } pass[2]; /* forward, backward */
};

static const pn_far_ops *far_of(const pn_plan *p) {
  return p->spec.device->ops->far;
}

static void *far_buffer(const pn_plan *p, int buffer) {
  return p->arena + p->buffer[buffer].offset;
}

static pn_status host_array(pn_plan *p, size_t bytes, void *out) {
  void *a = NULL;
  pn_status st = pn_device_alloc(p->spec.device, bytes, &a);
  memcpy(out, &a, sizeof a);
  return st;
}

static pn_status far_array(pn_plan *p, const char *what, size_t bytes, void *out) {
  void *a = NULL;
  pn_status st = far_of(p)->alloc(p->spec.device, what, bytes, &a);
  memcpy(out, &a, sizeof a);
  return st;
}

pn_status pn_plan_far_create(pn_plan *p) {
  struct pn_plan_far *f = p->far = calloc(1, sizeof *f);
  size_t n = (size_t)p->spec.batch;
  pn_status st = PN_OK;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  f->input_bytes = (size_t)pn_shape_count(p->op[0].out) * sizeof(float);
  f->logits_bytes = (size_t)pn_shape_count(p->op[p->logits].out) * sizeof(float);
  PN_TRY(host_array(p, f->input_bytes, &f->input));
  PN_TRY(host_array(p, f->logits_bytes, &f->logits));
  PN_TRY(host_array(p, n * sizeof(float), &f->losses));
  PN_TRY(host_array(p, n * sizeof(int32_t), &f->labels));
  PN_TRY(far_array(p, "batch", n * sizeof(uint64_t), &f->id));
  PN_TRY(far_array(p, "batch", n * sizeof(float), &f->scale));
  PN_TRY(far_array(p, "batch", n * sizeof(int32_t), &f->label2));
  PN_TRY(far_array(p, "batch", n * sizeof(float), &f->mix));
done:
  return st;
}

void pn_plan_far_destroy(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  pn_device *d = p->spec.device;

  if (!f) return;
  for (int i = 0; i < 2; i++)
    if (f->pass[i].graph) far_of(p)->forget(d, f->pass[i].graph);
  void *host[] = {f->input, f->logits, f->losses, f->labels};
  void *far[] = {f->params, f->grads, f->id, f->scale, f->label2, f->mix};
  for (size_t i = 0; i < sizeof host / sizeof *host; i++) d->ops->free(d, host[i]);
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) far_of(p)->free(d, far[i]);
  free(f);
  p->far = NULL;
}

float *pn_plan_far_params(const pn_plan *p) {
  return p->far->lent_params ? p->far->lent_params : p->far->params;
}

float *pn_plan_far_grads(const pn_plan *p) {
  return p->far->lent_params ? p->far->lent_grads : p->far->grads;
}

static void drop_graph(const pn_plan *p, struct captured *c) {
  if (c->graph) far_of(p)->forget(p->spec.device, c->graph);
  c->graph = NULL;
}

void pn_plan_bind_far(pn_plan *p, float *params, float *grads) {
  if (!p->far) return;
  for (int i = 0; i < 2; i++) drop_graph(p, &p->far->pass[i]);
  p->far->lent_params = params;
  p->far->lent_grads = grads;
  pn_plan_bind(p, p->params, p->grads);
}

pn_status pn_plan_far_ready(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  pn_status st = PN_OK;

  if (f->lent_params || f->params) return PN_OK;
  PN_TRY(far_array(p, "parameters", (size_t)p->map.total * sizeof(float), &f->params));
  if (p->spec.training)
    PN_TRY(far_array(p, "gradients", (size_t)p->map.trainable * sizeof(float), &f->grads));
  pn_plan_bind(p, p->params, p->grads);
done:
  return st;
}

void *pn_plan_far_shadow(const pn_plan *p, int buffer) {
  const struct pn_plan_far *f = p->far;

  if (buffer == p->input_buffer) return f->input;
  if (buffer == p->label_buffer) return f->labels;
  return buffer == p->logits_buffer ? f->logits : f->losses;
}

void pn_plan_far_fill(pn_plan *p, bool there) {
  p->far->filled = there;
}

bool pn_plan_far_filled(const pn_plan *p) {
  return p->far && p->far->filled;
}

float *pn_plan_far_input(pn_plan *p, int32_t **labels) {
  *labels = NULL;
  if (!p->far) return NULL;
  p->far->filled = true;
  *labels = far_buffer(p, p->label_buffer);
  return far_buffer(p, p->input_buffer);
}

/* Kernels cannot say what is wrong with a label. */
static pn_status check_labels(const pn_plan *p, const int32_t *label, const char *what) {
  const pn_op_desc *loss = &p->op[p->loss];
  int64_t classes = loss->kind == PN_OP_BCE ? 2 : loss->in.dim[1];

  for (int64_t i = 0; label && i < p->spec.batch; i++)
    if (label[i] < 0 || label[i] >= classes)
      return PN_FAIL(PN_ERR_ARG, "%s %d of image %lld of the batch: the loss has %lld classes",
                     what, label[i], (long long)i, (long long)classes);
  return PN_OK;
}

static pn_status upload(const pn_plan *p, void *far, const void *host, size_t bytes) {
  return far_of(p)->upload(p->spec.device, far, host, bytes);
}

pn_status pn_plan_far_context(const pn_plan *p, const pn_step_ctx *ctx, pn_step_ctx *out) {
  const struct pn_plan_far *f = p->far;
  size_t n = (size_t)p->spec.batch;
  pn_status st = PN_OK;

  *out = (pn_step_ctx){.seed = 0};
  if (!ctx) return PN_OK;
  *out = *ctx;
  if (ctx->sample_id) {
    PN_TRY(upload(p, f->id, ctx->sample_id, n * sizeof *ctx->sample_id));
    out->sample_id = f->id;
  }
  if (ctx->sample_scale) {
    PN_TRY(upload(p, f->scale, ctx->sample_scale, n * sizeof *ctx->sample_scale));
    out->sample_scale = f->scale;
  }
  if (!ctx->mix) return PN_OK;
  PN_TRY(check_labels(p, ctx->label2, "second label"));
  PN_TRY(upload(p, f->mix, ctx->mix, n * sizeof *ctx->mix));
  PN_TRY(upload(p, f->label2, ctx->label2, n * sizeof *ctx->label2));
  out->mix = f->mix;
  out->label2 = f->label2;
done:
  return st;
}

pn_status pn_plan_far_batch(const pn_plan *p) {
  const struct pn_plan_far *f = p->far;
  pn_status st = PN_OK;

  if (f->filled) return PN_OK;
  PN_TRY(check_labels(p, f->labels, "label"));
  PN_TRY(upload(p, far_buffer(p, p->input_buffer), f->input, f->input_bytes));
  PN_TRY(upload(p, far_buffer(p, p->label_buffer), f->labels,
                (size_t)p->spec.batch * sizeof *f->labels));
done:
  return st;
}

static pn_status run_steps(const pn_plan *p, int first, int last, const pn_step_ctx *ctx) {
  pn_status st = PN_OK;
  for (int i = first; i < last && st == PN_OK; i++)
    st = p->bound[i].run(p->bound[i].state, p->bound[i].ptr, ctx);
  return st;
}

/* Pointers of the context are always the plan's own, or NULL. */
static bool same_numbers(const pn_step_ctx *a, const pn_step_ctx *b) {
  return a->seed == b->seed && a->epoch == b->epoch && a->mix == b->mix &&
         a->sample_id == b->sample_id && a->sample_scale == b->sample_scale &&
         !(a->smoothing < b->smoothing) && !(a->smoothing > b->smoothing);
}

/* A device that cannot do it runs the steps one by one from now on. */
static void capture(const pn_plan *p, struct captured *c, int first, int last,
                    const pn_step_ctx *ctx) {
  pn_device *d = p->spec.device;
  pn_status st, end;

  c->refused = true;
  if (far_of(p)->capture_begin(d) != PN_OK) return;
  st = run_steps(p, first, last, ctx);
  end = far_of(p)->capture_end(d, &c->graph);
  c->refused = st != PN_OK || end != PN_OK;
  if (c->refused) drop_graph(p, c);
  if (c->refused) pn_warn("steps are not captured as one graph: %s", pn_last_error());
}

pn_status pn_plan_far_run(const pn_plan *p, bool backward, const pn_step_ctx *ctx) {
  struct captured *c = &p->far->pass[backward];
  int first = backward ? p->n_forward : 0, last = backward ? p->n_steps : p->n_forward;
  bool same = c->seen && same_numbers(&c->key, ctx);

  if (!same) drop_graph(p, c);
  if (same && !c->graph && !c->refused) capture(p, c, first, last, ctx);
  c->seen = true;
  c->key = *ctx;
  return c->graph ? far_of(p)->replay(p->spec.device, c->graph) : run_steps(p, first, last, ctx);
}

bool pn_plan_far_whole(const pn_plan *p) {
  return p->far->lent_params != NULL;
}

/* Parameters of the unit that follow each other travel together. */
pn_status pn_plan_far_unit(const pn_plan *p, int unit) {
  const struct pn_slot *slot = p->map.slot;
  pn_status st = PN_OK;

  if (p->far->lent_params) return PN_OK;
  for (int i = 0; i < p->map.n && st == PN_OK; i++) {
    int64_t first = slot[i].offset, last = first + slot[i].count;
    if (pn_graph_param(p->spec.graph, i)->unit != unit) continue;
    while (i + 1 < p->map.n && pn_graph_param(p->spec.graph, i + 1)->unit == unit &&
           slot[i + 1].trainable == slot[i].trainable && slot[i + 1].offset >= last) {
      i++;
      last = slot[i].offset + slot[i].count;
    }
    st = upload(p, p->far->params + first, p->params + first,
                (size_t)(last - first) * sizeof(float));
  }
  return st;
}

/* Running statistics lie behind the trainable parameters. */
pn_status pn_plan_far_results(const pn_plan *p) {
  const struct pn_plan_far *f = p->far;
  const pn_far_ops *far = far_of(p);
  pn_device *d = p->spec.device;
  int64_t rest = p->map.total - p->map.trainable;
  pn_status st;

  PN_TRY(far->download(d, f->logits, far_buffer(p, p->logits_buffer), f->logits_bytes));
  PN_TRY(far->download(d, f->losses, far_buffer(p, p->loss_buffer),
                       (size_t)p->spec.batch * sizeof(float)));
  if (p->spec.training && rest > 0)
    PN_TRY(far->download(d, p->params + p->map.trainable, pn_plan_far_params(p) + p->map.trainable,
                         (size_t)rest * sizeof(float)));
done:
  return st;
}

pn_status pn_plan_far_gradient(const pn_plan *p, int param) {
  const struct pn_slot *s = &p->map.slot[param];
  if (p->far->lent_params) return PN_OK;
  return far_of(p)->download(p->spec.device, p->grads + s->offset, p->far->grads + s->offset,
                             (size_t)s->count * sizeof(float));
}

pn_status pn_plan_peek(const pn_plan *p, const void *at, size_t bytes, void **host) {
  if (!(*host = malloc(bytes + 1))) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  return far_of(p)->download(p->spec.device, *host, at, bytes);
}
