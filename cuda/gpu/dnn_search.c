/* dnn_search.c -- which of cuDNN's engines is the fastest for a convolution, timed once. */
#include "dnn.h"

#include "../cuda_device.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* At most TRIED engines are timed, with at most MOST_BYTES of workspace. */
enum { PARTS_FASTER = -1 }; /* kept as an algorithm's number: not with its sums in one */
enum { TRIED = 8, WARM_UP = 2, RUNS = 5, MOST_BYTES = 1 << 30 };

/* Memory of the search alone. */
struct trial {
  cu_operands o;
  cudaEvent_t event[2];
  cu_norm sums; /* rows 0: none; else sums of our own follow the convolution */
};

static pn_status room(size_t bytes, void **out) {
  pn_status st = cu_check(cudaMalloc(out, bytes + 1), "room for a search");
  return st == PN_OK ? cu_check(cudaMemset(*out, 0, bytes + 1), "room for a search") : st;
}

static void trial_free(struct trial *t) {
  void *const at[] = {t->o.x,     t->o.w,       t->o.y,          t->o.bias,
                      t->o.stats, t->o.scratch, t->sums.partial, t->sums.aux};
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
  PN_TRY(room(2 * (size_t)s->o * sizeof(float), &t->o.stats));
  for (int i = 0; i < 2; i++) PN_TRY(cu_check(cudaEventCreate(&t->event[i]), "event"));
done:
  return st;
}

/* What cu_norm_prepare's kernel does without sums of cuDNN's. */
static pn_status run_trial(cu_prepared *c, struct trial *t) {
  cu_device device = {.backend = &cu_gpu, .impl = c->dnn->gpu};
  cu_state s = {.device = &device, .form = cu_form_of(c->job.type)};
  cu_norm sums = t->sums;
  pn_status st = cu_dnn_run(c, &t->o);

  return st == PN_OK && sums.rows ? cu_sum_rows(&s, CU_K_norm_statistics, &sums) : st;
}

static pn_status own_sums(const cu_conv_job *job, struct trial *t) {
  const cu_conv *c = &job->shape;
  cu_state s = {.form = cu_form_of(job->type)};
  uint32_t rows = c->n * c->oh * c->ow;
  void *partial = NULL, *aux = NULL;
  pn_status st;

  PN_TRY(room(cu_sum_bytes(&s, rows, c->o), &partial));
  PN_TRY(room((size_t)c->o * CU_NORM_ARRAYS * sizeof(float), &aux));
done:
  t->sums = (cu_norm){.x = t->o.y, .rows = rows, .channels = c->o, .partial = partial, .aux = aux};
  return st;
}

/* Milliseconds of c->plan. */
static pn_status time_plan(cu_prepared *c, struct trial *t, size_t bytes, float *ms) {
  cudaStream_t stream = c->dnn->gpu->stream;
  pn_status st = PN_OK;

  if (t->o.scratch) cudaFree(t->o.scratch);
  t->o.scratch = NULL;
  PN_TRY(room(bytes, &t->o.scratch));
  for (int i = 0; i < WARM_UP + RUNS; i++) {
    if (i == WARM_UP) PN_TRY(cu_check(cudaEventRecord(t->event[0], stream), "event"));
    PN_TRY(run_trial(c, t));
  }
  PN_TRY(cu_check(cudaEventRecord(t->event[1], stream), "event"));
  PN_TRY(cu_check(cudaEventSynchronize(t->event[1]), "search"));
  PN_TRY(cu_check(cudaEventElapsedTime(ms, t->event[0], t->event[1]), "search"));
done:
  return st;
}

static void drop_plan(cu_prepared *c) {
  if (c->pack) c->dnn->call.drop(c->pack);
  if (c->plan) c->dnn->call.drop(c->plan);
  c->pack = c->plan = NULL;
}

/* Choice i as c->plan.  UNSUPPORTED: it cannot be had, or wants too much memory. */
static pn_status try_choice(cu_prepared *c, int i, size_t *bytes) {
  pn_status st;

  drop_plan(c);
  if ((st = cu_dnn_plan(c->dnn, c->choices.config[i], &c->plan, bytes)) != PN_OK) return st;
  return *bytes <= MOST_BYTES ? PN_OK : PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: %zu bytes", *bytes);
}

/* Where there is no room to time any. */
static pn_status take_first(cu_prepared *c, cu_algorithm *best) {
  size_t bytes;

  for (int i = 0; i < c->choices.n; i++)
    if (try_choice(c, i, &bytes) == PN_OK) {
      *best = (cu_algorithm){.number = i, .math = c->choices.engine[i], .bytes = bytes};
      return PN_OK;
    }
  return PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: none of its engines can be had");
}

/* An engine that fails is passed over: another may not. */
static pn_status search(cu_prepared *c, cu_algorithm *best) {
  struct trial t;
  float ms, least = INFINITY;
  int tried = 0;
  size_t bytes;
  pn_status st = trial_make(&c->job, &t);

  c->timed = st == PN_OK;
  if (st == PN_ERR_NOMEM) {
    trial_free(&t);
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
  if (!isfinite(least)) st = PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: none of its engines runs");
done:
  drop_plan(c);
  trial_free(&t);
  return st;
}

/* What the file says must still be so. */
static bool known(cu_prepared *c, const char *key) {
  cu_algorithm *a = &c->algorithm;
  size_t bytes = 0;

  return cu_algorithm_find(key, a) && a->number >= 0 && a->number < c->choices.n &&
         c->choices.engine[a->number] == a->math && try_choice(c, a->number, &bytes) == PN_OK &&
         bytes == a->bytes;
}

static void key_of(const cu_prepared *c, char key[CU_KEY_BYTES]) {
  const struct cu_dnn *d = c->dnn;

  cu_algorithm_key(d->gpu->name, (int64_t)d->call.version(), d->tf32, &c->job, key);
  if (d->loose) snprintf(key + strlen(key), CU_KEY_BYTES - strlen(key), "|loose");
}

pn_status cu_dnn_choose(cu_prepared *c) {
  char key[CU_KEY_BYTES];
  size_t bytes;
  pn_status st = PN_OK;

  key_of(c, key);
  if (known(c, key)) return PN_OK;
  if (c->algorithm.number == PARTS_FASTER)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: slower than a norm's own sums");
  PN_TRY(search(c, &c->algorithm));
  if (c->timed) cu_algorithm_keep(key, &c->algorithm);
  PN_TRY(try_choice(c, c->algorithm.number, &bytes));
done:
  return st;
}

static pn_status compare(cu_prepared *c, cu_prepared *plain, float ms[2]) {
  struct trial t;
  pn_status st = trial_make(&c->job, &t);

  if (st == PN_OK) st = time_plan(c, &t, c->algorithm.bytes, &ms[0]);
  if (st == PN_OK) st = own_sums(&c->job, &t);
  if (st == PN_OK) st = time_plan(plain, &t, plain->algorithm.bytes, &ms[1]);
  trial_free(&t);
  return st;
}

pn_status cu_dnn_weigh(cu_prepared *c, cu_prepared *plain) {
  const cu_algorithm parts = {.number = PARTS_FASTER};
  char key[CU_KEY_BYTES];
  float ms[2] = {0};
  pn_status st = compare(c, plain, ms);

  if (st != PN_OK || ms[0] < ms[1]) return st;
  key_of(c, key);
  cu_algorithm_keep(key, &parts);
  return PN_FAIL(PN_ERR_UNSUPPORTED, "cuDNN: %g ms with the sums of a norm, %g ms without",
                 (double)ms[0], (double)ms[1]);
}
