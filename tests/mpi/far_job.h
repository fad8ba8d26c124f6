/* far_job.h -- the emulated device for jobs of ddp_job.h: its memory closed to the host, or open to
 * fake_nccl.h, whose transfers are then recorded with its kernels and replayed. */
#ifndef PN_TESTS_FAR_JOB_H
#define PN_TESTS_FAR_JOB_H

#include "mpi/ddp_job.h"
#include "mpi/fake_nccl.h"

enum { SEGMENTS = 32, PLACES = 256 };

/* What a graph is made of: kernels, transfers, kernels, ... */
typedef struct {
  void *kernels[SEGMENTS];
  fake_op op[SEGMENTS][FAKE_OPS];
  int n_ops[SEGMENTS], n;
} tape;

static struct {
  pn_device_ops device;
  pn_far_ops far;
  pn_device *recorder;
  tape *now;
  int graphs, replays, producer;
  struct {
    char *at;
    size_t bytes;
  } place[PLACES];
} emu;

static const pn_far_ops *plain(void) {
  return pn_device_emulated_ops.far;
}

static pn_status noted_alloc(pn_device *d, const char *what, size_t bytes, void **out) {
  pn_status st = plain()->alloc(d, what, bytes, out);
  int k = 0;

  while (k < PLACES && emu.place[k].at) k++;
  assert_true(k < PLACES);
  emu.place[k].at = *out;
  emu.place[k].bytes = bytes;
  return st;
}

static void noted_free(pn_device *d, void *p) {
  for (int k = 0; k < PLACES; k++)
    if (p && emu.place[k].at == p) emu.place[k].at = NULL;
  plain()->free(d, p);
}

static bool is_far(const void *p) {
  for (int k = 0; k < PLACES; k++)
    if (emu.place[k].at && (const char *)p >= emu.place[k].at &&
        (const char *)p < emu.place[k].at + emu.place[k].bytes)
      return true;
  return false;
}

static pn_status record(pn_device *d) {
  emu.now = calloc(1, sizeof *emu.now);
  emu.recorder = d;
  fake.recording = true;
  fake.capture = ++fake.captures;
  return plain()->capture_begin(d);
}

/* NCCL's group ends while a graph is recorded. */
static void keep_group(void) {
  tape *t = emu.now;

  assert_true(t->n < SEGMENTS - 1);
  ok(plain()->capture_end(emu.recorder, &t->kernels[t->n]));
  memcpy(t->op[t->n], fake.op, sizeof fake.op);
  t->n_ops[t->n++] = fake.n_ops;
  ok(plain()->capture_begin(emu.recorder));
}

static pn_status end_record(pn_device *d, void **graph) {
  *graph = emu.now;
  assert_int_equal(fake.joined, fake.groups);
  fake.recording = false;
  fake.capture = 0;
  emu.graphs++;
  return plain()->capture_end(d, &emu.now->kernels[emu.now->n]);
}

static pn_status replay(pn_device *d, void *graph) {
  const tape *t = graph;

  emu.replays++;
  for (int i = 0; i <= t->n; i++) {
    ok(plain()->replay(d, t->kernels[i]));
    for (int k = 0; i < t->n && k < t->n_ops[i]; k++) fake_run(&t->op[i][k]);
  }
  return PN_OK;
}

static void forget(pn_device *d, void *graph) {
  tape *t = graph;
  for (int i = 0; i <= t->n; i++) plain()->forget(d, t->kernels[i]);
  free(t);
}

static void *queue(pn_device *d) {
  (void)d;
  return &emu.producer;
}

/* Far memory that dies when the host touches it. */
static pn_status open_closed(pn_device **out) {
  unsetenv("PN_EMULATED_OPEN");
  return pn_device_create("emulated", 1, out);
}

/* The same for transfers in place: memory that the fake can read, and graphs with transfers. */
static pn_status open_recorder(pn_device **out) {
  pn_status st;

  setenv("PN_EMULATED_OPEN", "1", 1);
  st = pn_device_create("emulated", 1, out);
  emu.device = pn_device_emulated_ops;
  emu.far = *plain();
  emu.far.alloc = noted_alloc;
  emu.far.free = noted_free;
  emu.far.capture_begin = record;
  emu.far.capture_end = end_record;
  emu.far.replay = replay;
  emu.far.forget = forget;
  emu.far.queue = queue;
  emu.device.far = &emu.far;
  (*out)->ops = &emu.device;
  return st;
}

static pn_status open_fake(pn_comm *c, pn_comm **out) {
  fake.also_device = is_far;
  fake.producer = &emu.producer;
  fake.keep = keep_group;
  return pn_comm_nccl_make(c, &fake_api, true, out);
}

#endif
