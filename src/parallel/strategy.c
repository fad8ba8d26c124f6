/* strategy.c -- the table of strategies and what they all need: creation, skipping, weights' hash.
 */
#include "parallel/strategy.h"

#include "base/digest.h"
#include "base/log.h"
#include "parallel/exact.h"
#include "parallel/far_update.h"
#include "parallel/resident.h"
#include "parallel/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pn_strategy_ops *const table[] = {&pn_strategy_single_ops, &pn_strategy_ddp_ops,
                                               &pn_strategy_zero1_ops, &pn_strategy_fsdp_ops};
enum { TABLE_ROWS = sizeof table / sizeof *table };

const pn_strategy_ops *const *pn_strategy_table(int *count) {
  *count = TABLE_ROWS;
  return table;
}

static pn_status find_ops(const char *name, const pn_strategy_ops **out) {
  char names[256] = "";

  for (int i = 0; i < TABLE_ROWS; i++) {
    size_t n = strlen(names);
    if (strcmp(table[i]->name, name) == 0) {
      *out = table[i];
      return PN_OK;
    }
    snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", table[i]->name);
  }
  return PN_FAIL(PN_ERR_ARG, "unknown strategy '%s'; there are: %s", name, names);
}

/* Collective.  *same: all ranks gave the same number. */
static pn_status same_everywhere(pn_comm *c, const char *what, uint32_t mine, bool *same) {
  int64_t v[2] = {mine, -(int64_t)mine};
  pn_status st = pn_allreduce(c, what, v, 2, PN_I64, PN_MAX);
  *same = v[0] == -v[1];
  return st;
}

/* Sums of gradients are elementwise over the arenas: their layouts must agree. */
static pn_status check_map(const pn_param_map *map, pn_comm *c) {
  uint32_t crc = pn_crc32c(0, &map->total, sizeof map->total);
  bool same = true;
  pn_status st;

  for (int i = 0; i < map->n; i++) {
    const struct pn_slot *s = &map->slot[i];
    crc = pn_crc32c(crc, s->layout.tag, strlen(s->layout.tag));
    crc = pn_crc32c(crc, &s->offset, sizeof s->offset);
    crc = pn_crc32c(crc, &s->count, sizeof s->count);
  }
  st = same_everywhere(c, "check of parameter layouts", crc, &same);
  if (st != PN_OK || same) return st;
  st = PN_FAIL(PN_ERR_UNSUPPORTED,
               "the ranks chose different parameter layouts, so their CPUs differ: set "
               "ONEDNN_MAX_CPU_ISA to what the weakest one has, e.g. AVX2");
  return pn_agree(c, st);
}

bool pn_one_host(const pn_strategy *s) {
  int sharers = pn_comm_sharers(s->spec.data);
  return sharers > 1 && sharers == pn_comm_size(s->spec.data);
}

static double mib(size_t bytes) {
  return (double)bytes / (1 << 20);
}

static void tell_plan(const pn_strategy *s) {
  size_t all = s->bytes_params + s->bytes_grads + s->bytes_state;

  pn_info(
      "%-12s %.1f MiB on each rank: parameters %.1f, gradients %.1f, optimizer state %.1f; over "
      "%s",
      "memory plan", mib(all), mib(s->bytes_params), mib(s->bytes_grads), mib(s->bytes_state),
      pn_comm_backend(s->spec.data));
}

static bool sums_where_they_lie(const pn_strategy *s) {
  return s->spec.leaves == 0 && s->ops->sums_late && pn_one_host(s);
}

/* Norms of tensors that are cut at buckets are summed in an order that depends on them; the sweep's
 * buffer is host memory. */
static const char *why_fixed(const pn_strategy *s) {
  bool norms = s->spec.clip_norm > 0 || pn_optim_wants_norms(s->spec.optim);

  if (s->spec.leaves > 0) return "exact sums have none of their own";
  if (sums_where_they_lie(s)) return "on one host nothing is sent";
  if (strcmp(pn_comm_backend(s->spec.data), "nccl") == 0) return "not measured between GPUs";
  return norms ? "clipping and LARS sum norms bucket by bucket: not measured" : NULL;
}

static pn_status choose_buckets(pn_strategy *s) {
  pn_bucket_question q = {.wanted = s->spec.bucket_bytes,
                          .gradient = s->spec.map->trainable * (int64_t)sizeof(float),
                          .fixed = why_fixed(s),
                          .unused = sums_where_they_lie(s)};
  const pn_bucket_choice *x = &s->buckets;
  pn_status st;

  if (!s->ops->by_buckets) return PN_OK;
  if ((st = pn_buckets_choose(s->spec.data, &q, &s->buckets)) != PN_OK) return st;
  s->spec.bucket_bytes = x->bytes;
  pn_info("%-12s %.4g MiB (%s): %s", "buckets", mib((size_t)x->bytes), x->origin, x->why);
  return PN_OK;
}

static pn_status make_carry(pn_strategy *s) {
  void *far = NULL;
  pn_status st = PN_OK;

  if (s->spec.micro_batches <= 1 || s->ops->next_pass) return PN_OK;
  if (s->resident) {
    st =
        s->spec.device->ops->far->alloc(s->spec.device, "gradients of parts", s->bytes_grads, &far);
    s->far_carry = far;
  } else if (!(s->carry = malloc(s->bytes_grads + 1)))
    st = PN_FAIL(PN_ERR_NOMEM, "gradients of %d micro-batches: out of memory",
                 s->spec.micro_batches);
  return st;
}

pn_status pn_strategy_create(const char *name, const pn_strategy_spec *spec, pn_strategy **out) {
  const pn_strategy_ops *ops = NULL;
  pn_strategy *s = calloc(1, sizeof *s);
  pn_status st = s ? find_ops(name, &ops) : PN_FAIL(PN_ERR_NOMEM, "strategy: out of memory");

  *out = NULL;
  PN_TRY(pn_agree(spec->data, st));
  PN_TRY(check_map(spec->map, spec->data));
  s->ops = ops;
  s->spec = *spec;
  if (spec->device->ops->far) pn_comm_unshare(spec->data); /* each device has its own memory */
  if (ops->one_host && pn_one_host(s)) s->ops = ops = ops->one_host;
  PN_TRY(choose_buckets(s));
  PN_TRY(pn_agree(spec->data, ops->plan(s)));
  tell_plan(s);
  PN_TRY(pn_agree(spec->data, ops->setup(s)));
  s->spec.initial = NULL;
  s->part.last = true;
  PN_TRY(pn_agree(spec->data, make_carry(s)));
  if (spec->leaves > 0) PN_TRY(pn_exact_create(s));
  *out = s;
  s = NULL;
done:
  pn_strategy_destroy(s);
  return st;
}

pn_status pn_strategy_initial_value(const pn_strategy *s, int param, float *logical) {
  const pn_initial_source *from = s->spec.initial;
  bool found = false;

  if (from) {
    pn_status st = from->value(from->ctx, param, logical, &found);
    if (st != PN_OK) return st;
  }
  if (!found) pn_graph_init_param(s->spec.graph, param, s->spec.seed, logical);
  return PN_OK;
}

void pn_strategy_destroy(pn_strategy *s) {
  if (!s) return;
  pn_exact_destroy(s);
  if (s->far_carry) s->spec.device->ops->far->free(s->spec.device, s->far_carry);
  if (s->ops) s->ops->destroy(s);
  free(s->carry);
  free(s);
}

static pn_status add_kept(void *ctx, int param) {
  pn_strategy *s = ctx;
  const struct pn_slot *slot = &s->spec.map->slot[param];
  pn_status (*ready)(void *, int) = s->ops->hooks.grad_ready;

  if (s->carrying)
    for (int64_t i = slot->offset; i < slot->offset + slot->count; i++) s->grads[i] += s->carry[i];
  return ready ? ready(s, param) : PN_OK;
}

pn_plan_hooks pn_strategy_hooks(pn_strategy *s, bool last) {
  pn_plan_hooks hooks = s->ops->hooks;
  if (s->exact || (!last && !s->ops->next_pass))
    hooks.grad_ready = NULL;
  else if (s->carry)
    hooks.grad_ready = add_kept;
  hooks.ctx = s;
  return hooks;
}

static pn_status keep_far(pn_strategy *s) {
  const pn_far_ops *far = s->spec.device->ops->far;
  const float *grads = pn_resident_far(s, s->grads);
  int64_t n = (int64_t)(s->bytes_grads / sizeof *grads);

  if (s->carrying) return far->add(s->spec.device, s->far_carry, grads, n);
  s->carrying = true;
  return far->copy(s->spec.device, s->far_carry, grads, s->bytes_grads);
}

pn_status pn_strategy_add_kept(pn_strategy *s, int64_t first, int64_t count) {
  if (!s->far_carry || !s->carrying) return PN_OK;
  return s->spec.device->ops->far->add(s->spec.device, pn_resident_far(s, s->grads) + first,
                                       s->far_carry + first, count);
}

pn_status pn_strategy_keep_grads(pn_strategy *s) {
  int64_t n = (int64_t)(s->bytes_grads / sizeof *s->grads);

  if (s->ops->next_pass) return s->ops->next_pass(s);
  if (s->far_carry) return keep_far(s);
  if (s->carrying)
    for (int64_t i = 0; i < n; i++) s->carry[i] += s->grads[i];
  else
    memcpy(s->carry, s->grads, s->bytes_grads);
  s->carrying = true;
  return PN_OK;
}

/* An averaged network has averaged running statistics: the newest ones are of other weights. */
static pn_status average_rest(pn_strategy *s, int64_t t) {
  const pn_param_map *map = s->spec.map;
  pn_ema_range r = {.param = s->params + map->trainable,
                    .average = s->ema_rest,
                    .count = map->total - map->trainable,
                    .decay = s->spec.ema};

  if (!s->ema) return PN_OK;
  if (s->far_update) return pn_far_update_rest(s);
  if (!s->overflow) pn_ema_update(&r, t, s->spec.device->threads);
  return PN_OK;
}

pn_status pn_strategy_update(pn_strategy *s, int64_t t, double lr, double *grad_norm) {
  pn_status st = PN_OK;

  if (s->exact) PN_TRY(pn_exact_sum_step(s));
  PN_TRY((s->exact ? s->ops->apply : s->ops->step)(s, t, lr, grad_norm));
  st = average_rest(s, t);
done:
  return st;
}

static pn_status skip_forward(pn_strategy *s, const pn_plan_hooks *h) {
  pn_status st = PN_OK;

  for (int u = 0; u < pn_graph_n_units(s->spec.graph) && st == PN_OK; u++) {
    if (h->before_forward) st = h->before_forward(h->ctx, u);
    if (st == PN_OK && h->after_forward) st = h->after_forward(h->ctx, u);
  }
  return st;
}

static pn_status clear_gradient(pn_strategy *s, const struct pn_slot *slot) {
  float *grad = s->grads + slot->offset;

  memset(grad, 0, (size_t)slot->count * sizeof *grad);
  return pn_resident_push_part(s, grad, slot->count);
}

pn_status pn_strategy_skip(pn_strategy *s) {
  const pn_param_map *map = s->spec.map;
  pn_plan_hooks h = pn_strategy_hooks(s, true);
  int unit = -1;
  pn_status st = skip_forward(s, &h);

  for (int p = map->n - 1; p >= 0 && st == PN_OK; p--) {
    bool enters = pn_graph_param(s->spec.graph, p)->unit != unit;
    if (!map->slot[p].trainable) continue;
    unit = pn_graph_param(s->spec.graph, p)->unit;
    if (enters && h.before_backward) PN_TRY(h.before_backward(h.ctx, unit));
    PN_TRY(clear_gradient(s, &map->slot[p]));
    if (h.grad_ready) st = h.grad_ready(h.ctx, p);
  }
done:
  return st;
}

pn_status pn_strategy_gather(pn_strategy *s, bool average, float **out) {
  if (s->ops->gather) return s->ops->gather(s, average, out);
  *out = average && s->ema ? s->ema : s->params;
  return PN_OK;
}

pn_status pn_strategy_evaluated(pn_strategy *s, float **host, const pn_far_places **far) {
  *far = s->far_evaluated;
  *host = s->params;
  return *far ? pn_agree(s->spec.data, pn_resident_settle(s)) : pn_strategy_gather(s, true, host);
}

void pn_strategy_release(pn_strategy *s) {
  if (s->ops->release) s->ops->release(s);
}

/* SHA-256 of this rank's copy. */
static pn_status hash_params(const pn_strategy *s, const float *params, char hex[65]) {
  const pn_param_map *map = s->spec.map;
  pn_sha256 *sha = NULL;
  float *logical = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_sha256_create(&sha));
  for (int i = 0; i < map->n; i++) {
    size_t n = (size_t)pn_shape_count(map->slot[i].layout.shape);
    free(logical);
    if (!(logical = malloc(n * sizeof *logical))) {
      st = PN_FAIL(PN_ERR_NOMEM, "hash of the weights: out of memory");
      goto done;
    }
    PN_TRY(pn_layout_unpack(&map->slot[i].layout, params + map->slot[i].offset, logical));
    pn_sha256_update(sha, logical, n * sizeof *logical);
  }
  pn_sha256_hex(sha, hex);
done:
  free(logical);
  pn_sha256_destroy(sha);
  return st;
}

pn_status pn_strategy_weights_sha256(pn_strategy *s, char hex[65]) {
  pn_comm *c = s->spec.data;
  bool same = true;
  float *params = NULL;
  pn_status st = pn_strategy_gather(s, false, &params);

  if (st != PN_OK) return st;
  st = hash_params(s, params, hex);
  pn_strategy_release(s);
  if ((st = pn_agree(c, st)) != PN_OK) return st;
  st = same_everywhere(c, "check that all ranks have the same weights", pn_crc32c(0, hex, 64),
                       &same);
  if (st != PN_OK || same) return st;
  st = PN_FAIL(PN_ERR_NUMERIC, "the ranks no longer have the same weights");
  return pn_agree(c, st);
}
