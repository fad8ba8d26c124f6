/* plan_far.c -- plans on devices with memory of their own: what the caller sees stays in host
 * memory, and is copied where a run begins, enters a unit, and ends. */
#include "nn/plan_far.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

const pn_far_ops *pn_plan_far_ops(const pn_plan *p) {
  return p->spec.device->ops->far;
}

void *pn_plan_far_buffer(const pn_plan *p, int buffer) {
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
  pn_status st = pn_plan_far_ops(p)->alloc(p->spec.device, what, bytes, &a);
  memcpy(out, &a, sizeof a);
  return st;
}

static pn_status upload(const pn_plan *p, void *far, const void *host, size_t bytes) {
  return pn_plan_far_ops(p)->upload(p->spec.device, far, host, bytes);
}

static size_t rounded(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/* The arrays of a block of n images that starts at `at`; their bytes. */
static size_t cut_block(char *at, size_t n, batch_block *out) {
  size_t id = rounded(sizeof *out->numbers), scale = id + rounded(n * sizeof *out->id);
  size_t mix = scale + rounded(n * sizeof *out->scale),
         label2 = mix + rounded(n * sizeof *out->mix);

  if (at)
    *out = (batch_block){.numbers = (void *)at,
                         .id = (void *)(at + id),
                         .scale = (void *)(at + scale),
                         .mix = (void *)(at + mix),
                         .label2 = (void *)(at + label2)};
  return label2 + rounded(n * sizeof *out->label2);
}

pn_status pn_plan_side_make(pn_plan *p, host_side *x) {
  const struct pn_plan_far *f = p->far;
  size_t n = (size_t)p->spec.batch;
  pn_status st;

  PN_TRY(host_array(p, f->input_bytes, &x->input));
  PN_TRY(host_array(p, f->logits_bytes, &x->logits));
  PN_TRY(host_array(p, n * sizeof(float), &x->losses));
  PN_TRY(host_array(p, n * sizeof(int32_t), &x->labels));
  PN_TRY(host_array(p, f->block_bytes, &x->memory));
  cut_block(x->memory, n, &x->block);
done:
  return st;
}

pn_status pn_plan_far_create(pn_plan *p) {
  struct pn_plan_far *f = p->far = calloc(1, sizeof *f);
  size_t n = (size_t)p->spec.batch;
  pn_status st = PN_OK;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  f->input_bytes = (size_t)pn_shape_count(p->op[0].out) * sizeof(float);
  f->logits_bytes = (size_t)pn_shape_count(p->op[p->logits].out) * sizeof(float);
  f->block_bytes = cut_block(NULL, n, NULL);
  PN_TRY(pn_plan_side_make(p, &f->side[0]));
  PN_TRY(far_array(p, "batch", f->block_bytes, &f->memory));
  cut_block(f->memory, n, &f->block);
done:
  return st;
}

void pn_plan_far_destroy(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  pn_device *d = p->spec.device;

  if (!f) return;
  for (int i = 0; i < 2; i++) pn_plan_far_drop(p, &f->pass[i]);
  for (int i = 0; i < PN_PART_KINDS; i++) pn_plan_far_drop(p, &f->whole[i]);
  for (int i = 0; i < MARKS; i++) {
    pn_plan_far_ops(p)->mark_destroy(d, f->mark[i].start);
    pn_plan_far_ops(p)->mark_destroy(d, f->mark[i].end);
  }
  for (int k = 0; k < SIDES; k++) {
    host_side *x = &f->side[k];
    void *host[] = {x->input, x->logits, x->losses, x->labels, x->memory};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) d->ops->free(d, host[i]);
    pn_plan_far_ops(p)->free(d, x->far_input);
  }
  void *far[] = {f->params, f->grads, f->memory};
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) pn_plan_far_ops(p)->free(d, far[i]);
  free(f);
  p->far = NULL;
}

void *pn_plan_far_param(const pn_plan *p, int i) {
  if (p->far->lent) return p->far->lent->param[i];
  return p->far->params ? p->far->params + p->map.slot[i].offset : NULL;
}

void *pn_plan_far_grad(const pn_plan *p, int i) {
  if (p->far->lent) return p->far->lent->grad[i];
  return p->far->grads ? p->far->grads + p->map.slot[i].offset : NULL;
}

void pn_plan_far_drop(const pn_plan *p, struct captured *c) {
  if (c->graph) pn_plan_far_ops(p)->forget(p->spec.device, c->graph);
  c->graph = NULL;
}

void pn_plan_bind_far(pn_plan *p, const pn_far_places *where) {
  if (!p->far || p->far->lent == where) return;
  for (int i = 0; i < 2; i++) pn_plan_far_drop(p, &p->far->pass[i]);
  for (int i = 0; i < PN_PART_KINDS; i++) pn_plan_far_drop(p, &p->far->whole[i]);
  p->far->lent = where;
  pn_plan_bind(p, p->params, p->grads);
}

static pn_status make_mirrors(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  pn_status st;

  PN_TRY(far_array(p, "parameters", (size_t)p->map.total * sizeof(float), &f->params));
  if (p->spec.training)
    PN_TRY(far_array(p, "gradients", (size_t)p->map.trainable * sizeof(float), &f->grads));
  pn_plan_bind(p, p->params, p->grads);
done:
  return st;
}

pn_status pn_plan_far_ready(pn_plan *p) {
  struct pn_plan_far *f = p->far;
  pn_status st = PN_OK;

  if (f->lent) return PN_OK;
  if (!f->params) PN_TRY(make_mirrors(p));
  if (p->spec.training || f->copied) return PN_OK;
  PN_TRY(upload(p, f->params, p->params, (size_t)p->map.total * sizeof(float)));
  f->copied = true;
done:
  return st;
}

void pn_plan_far_outdate(pn_plan *p) {
  p->far->copied = false;
}

void *pn_plan_far_shadow(const pn_plan *p, int buffer) {
  const host_side *x = &p->far->side[p->far->turn];

  if (buffer == p->input_buffer) return x->input;
  if (buffer == p->label_buffer) return x->labels;
  return buffer == p->logits_buffer ? x->logits : x->losses;
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
  *labels = pn_plan_far_buffer(p, p->label_buffer);
  return pn_plan_far_buffer(p, p->input_buffer);
}

/* Kernels cannot say what is wrong with a label. */
pn_status pn_plan_far_check_labels(const pn_plan *p, const int32_t *label, const char *what) {
  const pn_op_desc *loss = &p->op[p->loss];
  int64_t classes = loss->kind == PN_OP_BCE ? 2 : loss->in.dim[1];

  for (int64_t i = 0; label && i < p->spec.batch; i++)
    if (label[i] < 0 || label[i] >= classes)
      return PN_FAIL(PN_ERR_ARG, "%s %d of image %lld of the batch: the loss has %lld classes",
                     what, label[i], (long long)i, (long long)classes);
  return PN_OK;
}

pn_status pn_plan_far_write(const pn_plan *p, const host_side *x, const pn_step_ctx *ctx,
                            pn_step_ctx *out) {
  const batch_block *far = &p->far->block, *host = &x->block;
  size_t n = (size_t)p->spec.batch;
  pn_status st;

  *out = *ctx;
  *host->numbers =
      (pn_step_numbers){{(uint32_t)ctx->seed, (uint32_t)(ctx->seed >> 32)}, ctx->epoch};
  out->numbers = far->numbers;
  if (ctx->sample_id) memcpy(host->id, ctx->sample_id, n * sizeof *host->id);
  if (ctx->sample_id) out->sample_id = far->id;
  if (ctx->sample_scale) memcpy(host->scale, ctx->sample_scale, n * sizeof *host->scale);
  if (ctx->sample_scale) out->sample_scale = far->scale;
  if (!ctx->mix) return PN_OK;
  if ((st = pn_plan_far_check_labels(p, ctx->label2, "second label")) != PN_OK) return st;
  memcpy(host->mix, ctx->mix, n * sizeof *host->mix);
  memcpy(host->label2, ctx->label2, n * sizeof *host->label2);
  out->mix = far->mix;
  out->label2 = far->label2;
  return PN_OK;
}

pn_status pn_plan_far_context(const pn_plan *p, const pn_step_ctx *ctx, pn_step_ctx *out) {
  const struct pn_plan_far *f = p->far;
  const host_side *x = &f->side[f->turn];
  pn_status st = PN_OK;

  *out = (pn_step_ctx){.seed = 0};
  if (!ctx) return PN_OK;
  PN_TRY(pn_plan_far_write(p, x, ctx, out));
  PN_TRY(upload(p, f->memory, x->memory, f->block_bytes));
done:
  return st;
}

pn_status pn_plan_far_batch(const pn_plan *p) {
  const struct pn_plan_far *f = p->far;
  const host_side *x = &f->side[f->turn];
  pn_status st = PN_OK;

  if (f->filled) return PN_OK;
  PN_TRY(pn_plan_far_check_labels(p, x->labels, "label"));
  PN_TRY(upload(p, pn_plan_far_buffer(p, p->input_buffer), x->input, f->input_bytes));
  PN_TRY(upload(p, pn_plan_far_buffer(p, p->label_buffer), x->labels,
                (size_t)p->spec.batch * sizeof *x->labels));
done:
  return st;
}

static pn_status run_steps(const pn_plan *p, int first, int last, const pn_step_ctx *ctx) {
  pn_status st = PN_OK;
  for (int i = first; i < last && st == PN_OK; i++)
    st = p->bound[i].run(p->bound[i].state, p->bound[i].ptr, ctx);
  return st;
}

/* Pointers of the context are always the plan's own, or NULL; seed and epoch lie behind one. */
bool pn_plan_far_same(const pn_step_ctx *a, const pn_step_ctx *b) {
  return a->numbers == b->numbers && a->mix == b->mix && a->sample_id == b->sample_id &&
         a->sample_scale == b->sample_scale && !(a->smoothing < b->smoothing) &&
         !(a->smoothing > b->smoothing);
}

/* A device that cannot do it runs the steps one by one from now on. */
static void capture(const pn_plan *p, struct captured *c, int first, int last,
                    const pn_step_ctx *ctx) {
  pn_device *d = p->spec.device;
  pn_status st, end;

  c->refused = true;
  if (pn_plan_far_ops(p)->capture_begin(d) != PN_OK) return;
  st = run_steps(p, first, last, ctx);
  end = pn_plan_far_ops(p)->capture_end(d, &c->graph);
  c->refused = st != PN_OK || end != PN_OK;
  if (c->refused) pn_plan_far_drop(p, c);
  if (c->refused) pn_warn("steps are not captured as one graph: %s", pn_last_error());
}

pn_status pn_plan_far_run(const pn_plan *p, bool backward, const pn_step_ctx *ctx) {
  struct captured *c = &p->far->pass[backward];
  int first = backward ? p->n_forward : 0, last = backward ? p->n_steps : p->n_forward;
  bool same = c->seen && pn_plan_far_same(&c->key, ctx);

  if (!same) pn_plan_far_drop(p, c);
  if (same && !c->graph && !c->refused) capture(p, c, first, last, ctx);
  c->seen = true;
  c->key = *ctx;
  return c->graph ? pn_plan_far_ops(p)->replay(p->spec.device, c->graph)
                  : run_steps(p, first, last, ctx);
}

bool pn_plan_far_whole(const pn_plan *p) {
  return p->far->lent || p->far->copied;
}

/* Parameters of the unit that follow each other travel together. */
pn_status pn_plan_far_unit(const pn_plan *p, int unit) {
  const struct pn_slot *slot = p->map.slot;
  pn_status st = PN_OK;

  if (pn_plan_far_whole(p)) return PN_OK;
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

/* Running statistics lie behind the trainable parameters; lent ones stay far. */
pn_status pn_plan_far_results(const pn_plan *p) {
  const host_side *x = &p->far->side[p->far->turn];
  const pn_far_ops *far = pn_plan_far_ops(p);
  pn_device *d = p->spec.device;
  int64_t rest = p->map.total - p->map.trainable;
  pn_status st;

  PN_TRY(
      far->download(d, x->logits, pn_plan_far_buffer(p, p->logits_buffer), p->far->logits_bytes));
  PN_TRY(far->download(d, x->losses, pn_plan_far_buffer(p, p->loss_buffer),
                       (size_t)p->spec.batch * sizeof(float)));
  if (p->spec.training && rest > 0 && !p->far->lent)
    PN_TRY(far->download(d, p->params + p->map.trainable, p->far->params + p->map.trainable,
                         (size_t)rest * sizeof(float)));
done:
  return st;
}

pn_status pn_plan_far_gradient(const pn_plan *p, int param) {
  const struct pn_slot *s = &p->map.slot[param];
  if (p->far->lent) return PN_OK;
  return pn_plan_far_ops(p)->download(p->spec.device, p->grads + s->offset,
                                      p->far->grads + s->offset, (size_t)s->count * sizeof(float));
}

pn_status pn_plan_peek(const pn_plan *p, const void *at, size_t bytes, void **host) {
  if (!(*host = malloc(bytes + 1))) return PN_FAIL(PN_ERR_NOMEM, "plan: out of memory");
  return pn_plan_far_ops(p)->download(p->spec.device, *host, at, bytes);
}
