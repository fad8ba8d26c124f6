/* bench_comm.c -- the loop over operations and sizes; what one call does, timed and checked. */
#include "report/bench_comm.h"

#include "base/clock.h"
#include "prof/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_SAMPLES = 7, MAX_SAMPLES = 201, BATCH_BYTES = 1 << 18, GRAIN = 16 };

static const struct op {
  const char *name;
  pn_transfer_kind kind;
  bool shared;  /* our buffer lies in the communicator's memory */
  double moves; /* share of the buffer a rank must send, over (ranks - 1) / ranks */
} ops[] = {{"allreduce", PN_ALLREDUCE, true, 2},
           {"reduce_scatter", PN_REDUCE_SCATTER, true, 1},
           {"allgather", PN_ALLGATHER, true, 1},
           {"allreduce_plain", PN_ALLREDUCE, false, 2}};
enum { N_OPS = sizeof ops / sizeof *ops };

struct bench {
  const pn_comm_bench *spec;
  int rank, size;
  float *ours;       /* in the communicator's memory */
  float *plain;      /* MPI's buffer, and that of allreduce_plain */
  float *part;       /* result of reduce-scatter */
  double *sample[2]; /* [MAX_SAMPLES]: ours, MPI's */
};

static pn_status call(struct bench *b, const struct op *op, bool mpi, int64_t count) {
  pn_slice own = pn_comm_slice(count, b->rank, b->size);
  float *x = op->shared && !mpi ? b->ours : b->plain;
  float *in = op->kind == PN_ALLGATHER ? x + own.first : x;
  float *out = op->kind == PN_REDUCE_SCATTER ? b->part : x;
  pn_comm *c = b->spec->bulk;
  pn_request *q = NULL;
  pn_status st;

  if (mpi) return pn_comm_library_call(b->spec->world, op->kind, in, out, count);
  if (op->kind == PN_ALLREDUCE) return pn_allreduce(c, op->name, x, count, PN_F32, PN_SUM);
  if (op->kind == PN_REDUCE_SCATTER)
    st = pn_ireduce_scatter_sum(c, op->name, in, out, count, &q);
  else
    st = pn_iallgather_slices(c, op->name, in, out, count, &q);
  return st == PN_OK ? pn_request_wait(q) : st;
}

static void write_zeros(struct bench *b, const struct op *op, bool mpi, int64_t count) {
  float *x = op->shared && !mpi ? b->ours : b->plain;
  pn_slice s = {0, count};
  if (op->kind == PN_ALLGATHER) s = pn_comm_slice(count, b->rank, b->size);
  memset(x + s.first, 0, (size_t)s.count * sizeof *x);
}

/* One sample: several calls in a row when they are short. */
static pn_status sample(struct bench *b, const struct op *op, bool mpi, int64_t count,
                        double *seconds) {
  int64_t bytes = count * (int64_t)sizeof(float);
  int calls = bytes < BATCH_BYTES ? (int)(BATCH_BYTES / bytes) : 1;
  double t0;
  pn_status st = PN_OK;

  if (calls > 32) calls = 32;
  write_zeros(b, op, mpi, count);
  PN_TRY(pn_barrier(b->spec->world, "start of a sample"));
  PN_TRY(call(b, op, mpi, GRAIN * b->size)); /* the barrier's stragglers meet here */
  t0 = pn_now();
  for (int i = 0; i < calls; i++) PN_TRY(call(b, op, mpi, count));
  *seconds = (pn_now() - t0) / calls;
done:
  return st;
}

/* How many samples fit into the time; rank 0's clock decides. */
static pn_status choose_samples(struct bench *b, const struct op *op, int64_t count, int *n) {
  double first, second, t0 = pn_now();
  pn_status st = PN_OK;

  PN_TRY(sample(b, op, false, count, &first));
  PN_TRY(sample(b, op, true, count, &second));
  *n = (int)fmin(MAX_SAMPLES, fmax(MIN_SAMPLES, b->spec->seconds / (pn_now() - t0)));
  PN_TRY(pn_bcast(b->spec->world, "number of samples", n, 1, PN_I32, 0));
done:
  return st;
}

/* Median over the samples of the slowest rank's time. */
static pn_status slowest(struct bench *b, double *x, int n, double *us) {
  pn_status st = pn_allreduce(b->spec->world, "times of the samples", x, n, PN_F64, PN_MAX);

  if (st != PN_OK) return st;
  pn_sort_doubles(x, n);
  *us = 1e6 * pn_median(x, n);
  return PN_OK;
}

static pn_status measure(struct bench *b, const struct op *op, int64_t count, pn_comm_row *row) {
  double moved = op->moves * (b->size - 1) / b->size;
  int n = 0;
  pn_status st = PN_OK;

  PN_TRY(choose_samples(b, op, count, &n));
  for (int i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) {
      int side = (i + k) % 2; /* in turn, and in turn first */
      PN_TRY(sample(b, op, side == 1, count, &b->sample[side][i]));
    }
  PN_TRY(slowest(b, b->sample[0], n, &row->us));
  PN_TRY(slowest(b, b->sample[1], n, &row->mpi_us));
  row->algbw_GBps = 1e-3 * (double)row->bytes / row->us;
  row->busbw_GBps = moved * row->algbw_GBps;
done:
  return st;
}

/* Small integers: no rounding, whatever the order. */
static float value(int rank, int64_t i) {
  return (float)((i * 7 + 13 * rank) % 101 - 50);
}

static float expected(const struct bench *b, const struct op *op, int64_t i, int64_t count) {
  int64_t each = pn_comm_slice(count, 0, b->size).count;
  float sum = 0;

  if (op->kind == PN_ALLGATHER) return value((int)(i / each), i);
  for (int r = 0; r < b->size; r++) sum += value(r, i);
  return sum;
}

static pn_status check(struct bench *b, const struct op *op, int64_t count, bool *correct) {
  pn_slice own = pn_comm_slice(count, b->rank, b->size), got = {0, count};
  float *x = op->shared ? b->ours : b->plain;
  const float *result = op->kind == PN_REDUCE_SCATTER ? b->part : x;
  int32_t good = 1;
  pn_status st = PN_OK;

  if (op->kind == PN_REDUCE_SCATTER) got = own;
  memset(x, 0, (size_t)count * sizeof *x);
  for (int64_t i = 0; i < count; i++)
    if (op->kind != PN_ALLGATHER || (i >= own.first && i < own.first + own.count))
      x[i] = value(b->rank, i);
  PN_TRY(call(b, op, false, count));
  for (int64_t i = 0; i < got.count; i++)
    good &= result[i] == expected(b, op, got.first + i, count);
  PN_TRY(pn_allreduce(b->spec->world, "all correct?", &good, 1, PN_I32, PN_MIN));
  *correct = good != 0;
done:
  return st;
}

/* Whole slices of whole cache lines for all ranks: MPI's block calls want equal ones. */
static int64_t elements(const struct bench *b, int64_t bytes) {
  int64_t grain = (int64_t)GRAIN * b->size, n = bytes / (int64_t)sizeof(float);
  return (n + grain - 1) / grain * grain;
}

static pn_status allocate(struct bench *b) {
  int64_t most = elements(b, b->spec->to);
  size_t bytes = (size_t)most * sizeof(float);
  void *p = NULL;
  pn_status st = PN_OK;

  b->plain = calloc((size_t)most, sizeof *b->plain);
  b->part = calloc((size_t)(most / b->size), sizeof *b->part);
  for (int k = 0; k < 2; k++) b->sample[k] = calloc(MAX_SAMPLES, sizeof *b->sample[k]);
  if (!b->plain || !b->part || !b->sample[0] || !b->sample[1])
    st = PN_FAIL(PN_ERR_NOMEM, "bench comm: no memory for %zu bytes; lower bench.to_mb", bytes);
  else /* pages now, not in the first sample */
    memset(b->plain, 0, bytes), memset(b->part, 0, bytes / (size_t)b->size);
  PN_TRY(pn_agree(b->spec->world, st));
  PN_TRY(pn_comm_alloc(b->spec->bulk, bytes, &p));
  b->ours = p;
done:
  return st;
}

static int count_sizes(const pn_comm_bench *s) {
  int n = 0;
  for (int64_t bytes = s->from; bytes <= s->to; bytes *= 2) n++;
  return n;
}

static pn_status all_rows(struct bench *b, pn_comm_row *rows, int *n) {
  const pn_comm_bench *s = b->spec;
  pn_status st = PN_OK;

  for (int k = 0; k < N_OPS; k++)
    for (int64_t bytes = s->from; bytes <= s->to; bytes *= 2) {
      int64_t count = elements(b, bytes);
      pn_comm_row *row = &rows[(*n)++];
      *row = (pn_comm_row){.op = ops[k].name, .bytes = count * (int64_t)sizeof(float)};
      PN_TRY(check(b, &ops[k], count, &row->correct));
      PN_TRY(measure(b, &ops[k], count, row));
      if (s->tell) s->tell(s->ctx, row);
    }
done:
  return st;
}

pn_status pn_comm_bench_run(const pn_comm_bench *s, pn_comm_row **rows, int *n) {
  struct bench b = {.spec = s, .rank = pn_comm_rank(s->bulk), .size = pn_comm_size(s->bulk)};
  pn_status st = PN_OK;

  *n = 0;
  *rows = calloc((size_t)(N_OPS * count_sizes(s) + 1), sizeof **rows);
  if (!*rows) st = PN_FAIL(PN_ERR_NOMEM, "bench comm: out of memory");
  if (b.size < 2)
    st = PN_FAIL(PN_ERR_ARG, "bench comm needs at least 2 ranks: mpirun -n 2 pneuma bench comm");
  PN_TRY(pn_agree(s->world, st));
  PN_TRY(allocate(&b));
  PN_TRY(all_rows(&b, *rows, n));
done:
  pn_comm_free(s->bulk, b.ours);
  free(b.plain);
  free(b.part);
  free(b.sample[0]);
  free(b.sample[1]);
  if (st == PN_OK) return st;
  free(*rows);
  *rows = NULL;
  *n = 0;
  return st;
}

double pn_comm_bench_gain(const pn_comm_row *rows, int n) {
  double sum = 0;
  int found = 0;

  for (int i = 0; i < n; i++)
    for (int64_t mb = 1; mb <= 64; mb *= 4) {
      int64_t off = rows[i].bytes - (mb << 20);
      if (strcmp(rows[i].op, "allreduce") != 0 || off < 0 || off > 4096) continue;
      sum += log(rows[i].mpi_us / rows[i].us);
      found++;
    }
  return found > 0 ? exp(sum / found) : 0;
}
