/* test_eval_feed.c -- batches of an evaluation that a device makes from stored bytes are those of
 * the host, bit by bit: resident and streamed, mirrored, cut over ranks, after a run that was left
 * in the middle.  With the name of a device as argument, on that. */
#include "test_device.h"
#include "unit/shard_folder.h"

#include "train/eval_feed.h"

enum { SHARDS = 2, IMAGES = SHARDS * 40, CHUNKS = 3, MOST = 3 * 12 * 11 };
static const pn_model_config model = {.input_mean = 0.4f, .input_sd = 0.25f};
static pn_device *dev;
static pn_dataset *data;
static int64_t pixels;

typedef struct {
  pn_eval_feed *feed;
  pn_graph *graph;
  pn_plan *plan;
} source;

static void open_source(source *s) {
  pn_plan_spec spec = {.device = dev, .batch = PN_EVAL_BATCH};
  int64_t c, h, w;
  int node;

  pn_dataset_shape(data, &c, &h, &w);
  pixels = c * h * w;
  assert_true(pixels <= MOST);
  assert_int_equal(pn_graph_create("inputs", &s->graph), PN_OK);
  assert_int_equal(pn_graph_input(s->graph, c, h, w, &node), PN_OK);
  assert_int_equal(pn_graph_dense(s->graph, "fc", node, 2, &node), PN_OK);
  assert_int_equal(pn_graph_loss(s->graph, "loss", node, PN_OP_SOFTMAX_CE, &node), PN_OK);
  spec.graph = s->graph;
  assert_int_equal(pn_plan_create(&spec, &s->plan), PN_OK);
  assert_int_equal(pn_eval_feed_create(data, &model, dev, &s->feed), PN_OK);
}

static void close_source(source *s) {
  pn_eval_feed_destroy(s->feed);
  pn_plan_destroy(s->plan);
  pn_graph_destroy(s->graph);
}

/* What a pass brings, of the images that count. */
typedef struct {
  float input[PN_EVAL_BATCH * MOST];
  int32_t label[PN_EVAL_BATCH], far_label[PN_EVAL_BATCH];
  uint64_t id[PN_EVAL_BATCH];
} batch_data;

static void load(source *s, bool made, int64_t n, batch_data *out) {
  size_t bytes = (size_t)(n * pixels) * sizeof(float);
  pn_eval_batch batch;
  int32_t *label;
  float *input;

  memset(out, 0, sizeof *out);
  if (pn_eval_feed_load(s->feed, s->plan, &batch) != PN_OK) fail_msg("%s", pn_last_error());
  memcpy(out->label, batch.label, (size_t)n * sizeof *out->label);
  memcpy(out->id, batch.id, (size_t)n * sizeof *out->id);
  if (!made) {
    memcpy(out->input, pn_plan_input(s->plan), bytes);
    memcpy(out->far_label, pn_plan_labels(s->plan), (size_t)n * sizeof *out->label);
    return;
  }
  input = pn_plan_far_input(s->plan, &label);
  assert_int_equal(dev->ops->far->download(dev, out->input, input, bytes), PN_OK);
  assert_int_equal(
      dev->ops->far->download(dev, out->far_label, label, (size_t)n * sizeof *out->label), PN_OK);
}

static void compare(const pn_eval_passes *passes, source *host, source *far) {
  static batch_data want, got;

  pn_eval_feed_start(host->feed, passes);
  pn_eval_feed_start(far->feed, passes);
  for (int64_t j = passes->first; j < CHUNKS; j += passes->stride)
    for (int k = 0; k <= passes->mirror; k++) {
      int64_t n = pn_eval_chunk_images(IMAGES, j);
      load(host, false, n, &want);
      load(far, true, n, &got);
      assert_memory_equal(&got, &want, sizeof want);
      assert_int_equal(got.label[n - 1], got.far_label[n - 1]);
      assert_int_equal(got.id[0], pn_dataset_id(data, passes->split, j * PN_EVAL_BATCH));
    }
}

static void check_way(pn_images_where where) {
  pn_eval_images how = {.where = where, .threads = 2, .sharing = 1};
  pn_eval_passes passes = {.split = PN_TRAIN, .stride = 1};
  pn_eval_batch batch;
  source host, far;

  open_source(&host);
  open_source(&far);
  if (pn_eval_feed_on_device(far.feed, PN_TRAIN, &how) != PN_OK) fail_msg("%s", pn_last_error());
  assert_int_equal(pn_eval_feed_decision(far.feed, PN_TRAIN)->where, where);
  assert_null(pn_eval_feed_decision(far.feed, PN_VAL));
  compare(&passes, &host, &far);
  passes.mirror = true;
  pn_eval_feed_start(far.feed, &passes); /* left in the middle */
  assert_int_equal(pn_eval_feed_load(far.feed, far.plan, &batch), PN_OK);
  compare(&passes, &host, &far);
  passes.stride = 2;
  for (passes.first = 0; passes.first < 2; passes.first++) compare(&passes, &host, &far);
  close_source(&host);
  close_source(&far);
}

static void check_shape(const folder_shape *shape) {
  char folder[64];

  folder_make(shape, folder);
  if (pn_dataset_open(folder, &data) != PN_OK) fail_msg("%s", pn_last_error());
  assert_int_equal(pn_dataset_count(data, PN_TRAIN), IMAGES);
  check_way(PN_IMAGES_RESIDENT);
  check_way(PN_IMAGES_STREAM);
  pn_dataset_close(data);
  folder_remove(folder);
}

static void test_batches(void **state) {
  (void)state;
  check_shape(&(folder_shape){1, 12, 8, 8, SHARDS, IMAGES / SHARDS + 1});
  check_shape(&(folder_shape){3, 9, 11, 8, SHARDS, IMAGES / SHARDS + 1});
  check_shape(&(folder_shape){1, 12, 11, 16, SHARDS, IMAGES / SHARDS + 1});
}

/* No images, or the host's choice: there is nothing on the device. */
static void test_host(void **state) {
  const folder_shape shape = {1, 8, 8, 8, SHARDS, IMAGES / SHARDS + 1};
  pn_eval_images how = {.where = PN_IMAGES_HOST, .threads = 1, .sharing = 1};
  char folder[64];
  source s;

  (void)state;
  folder_make(&shape, folder);
  assert_int_equal(pn_dataset_open(folder, &data), PN_OK);
  open_source(&s);
  assert_int_equal(pn_eval_feed_on_device(s.feed, PN_TRAIN, &how), PN_OK);
  assert_null(pn_eval_feed_decision(s.feed, PN_TRAIN));
  assert_int_equal(pn_dataset_count(data, PN_TEST), 0);
  assert_int_equal(pn_eval_feed_least(s.feed, PN_TEST), 0);
  assert_true(pn_eval_feed_least(s.feed, PN_VAL) > 2 * PN_EVAL_BATCH * 64);
  how.where = PN_IMAGES_RESIDENT;
  assert_int_equal(pn_eval_feed_on_device(s.feed, PN_TEST, &how), PN_OK);
  assert_null(pn_eval_feed_decision(s.feed, PN_TEST));
  close_source(&s);
  pn_dataset_close(data);
  folder_remove(folder);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_batches), cmocka_unit_test(test_host)};
  const char *name = argc > 1 ? test_device_name(argc, argv) : "emulated";
  int failed;

  if (!(dev = test_device_open(name, 2))) return argc > 1 ? TEST_SKIPPED : 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  pn_device_destroy(dev);
  return failed;
}
