/* test_images.c -- batches that a device makes from stored bytes against those of the host: every
 * transform, numbers of channels, bits, sides that 4 divides or not, resident and streamed; where
 * images go when there is little room.  With the name of a device as argument, on that. */
#include "test_device.h"
#include "unit/shard_folder.h"

#include "data/image_queue.h"

#include <math.h>

enum { SHARDS = 2, TRAIN = SHARDS * 8, BATCH = 5, MOST = 4 * 24 * 24 };
static const float MEAN = 0.4f, SD = 0.25f;
static const char *device_name;

static const double ranges[PN_AUG_COUNT] = {
    [PN_AUG_GAMMA] = 0.6,  [PN_AUG_CONTRAST] = 0.4, [PN_AUG_BRIGHTNESS] = 0.3,
    [PN_AUG_JITTER] = 0.2, [PN_AUG_HFLIP] = 0.5,    [PN_AUG_ZOOM] = 0.4,
    [PN_AUG_SHEAR] = 20,   [PN_AUG_ROTATE] = 35,    [PN_AUG_TRANSLATE] = 0.2,
    [PN_AUG_NOISE] = 0.2,  [PN_AUG_CUTOUT] = 0.4,   [PN_AUG_MIXUP] = 0.4};

typedef struct {
  pn_dataset *data;
  pn_augment *augment;
  pn_reader reader;
} source;

static void open_source(const char *folder, const pn_augment_config *c, source *s) {
  *s = (source){.data = NULL};
  if (pn_dataset_open(folder, &s->data) != PN_OK) fail_msg("%s", pn_last_error());
  assert_int_equal(pn_dataset_count(s->data, PN_TRAIN), TRAIN);
  s->reader = pn_reader_make(s->data, PN_TRAIN, MEAN, SD);
  if (c && pn_augment_any(c) && pn_augment_create(c, &s->reader.format, &s->augment) != PN_OK)
    fail_msg("%s", pn_last_error());
  s->reader.augment = s->augment;
}

static void close_source(source *s) {
  pn_augment_destroy(s->augment);
  pn_dataset_close(s->data);
}

/* An epoch of the split, in the order of the sampler. */
typedef struct {
  float input[TRAIN][MOST], mix[TRAIN];
  int32_t label[TRAIN], label2[TRAIN];
  uint64_t id[TRAIN];
} epoch_data;

static void read_on_host(const source *s, const int64_t *order, epoch_data *out) {
  float *scratch = malloc((size_t)pn_reader_scratch(&s->reader) * sizeof *scratch);

  for (int64_t i = 0; i < TRAIN; i++) {
    pn_rows rows = {.input = out->input[i],
                    .label = &out->label[i],
                    .label2 = &out->label2[i],
                    .mix = &out->mix[i],
                    .id = &out->id[i]};
    assert_int_equal(pn_reader_reach(&s->reader, 3, &order[i], 1), PN_OK);
    if (pn_reader_read(&s->reader, 3, order[i], scratch, &rows, 0) != PN_OK)
      fail_msg("%s", pn_last_error());
  }
  free(scratch);
}

static int64_t batch_size(int64_t first) {
  return TRAIN - first < BATCH ? TRAIN - first : BATCH;
}

static void keep(pn_device *d, const source *s, const pn_rows *rows, const void *input,
                 const void *label, int64_t first, epoch_data *out) {
  size_t n = (size_t)batch_size(first), pixels = (size_t)pn_reader_pixels(&s->reader);
  float *all = malloc(n * pixels * sizeof *all);

  assert_int_equal(d->ops->far->download(d, all, input, n * pixels * sizeof *all), PN_OK);
  assert_int_equal(d->ops->far->download(d, out->label + first, label, n * sizeof(int32_t)), PN_OK);
  for (size_t i = 0; i < n; i++)
    memcpy(out->input[first + (int64_t)i], all + i * pixels, pixels * sizeof *all);
  memcpy(out->mix + first, rows->mix, n * sizeof *out->mix);
  memcpy(out->label2 + first, rows->label2, n * sizeof *out->label2);
  memcpy(out->id + first, rows->id, n * sizeof *out->id);
  free(all);
}

static void run_batches(pn_device *d, const source *s, pn_image_queue *queue, const int64_t *order,
                        epoch_data *out) {
  size_t pixels = (size_t)pn_reader_pixels(&s->reader);
  pn_prefetch *ring = pn_image_queue_ring(queue);
  void *input = NULL, *label = NULL, *last = NULL;
  int64_t queued = 0;
  pn_rows rows;

  assert_int_equal(d->ops->far->alloc(d, "test", BATCH * pixels * sizeof(float), &input), PN_OK);
  assert_int_equal(d->ops->far->alloc(d, "test", BATCH * sizeof(int32_t), &label), PN_OK);
  for (int64_t first = 0; first < TRAIN; first += BATCH) {
    for (; queued < TRAIN && !pn_prefetch_full(ring); queued += BATCH)
      pn_prefetch_submit(ring, 3, order + queued, batch_size(queued));
    if (last) memset(last, 0xff, pn_prefetch_block_bytes(ring)); /* the host may write it now */
    if (pn_image_queue_make(queue, batch_size(first), input, label, &rows) != PN_OK)
      fail_msg("%s", pn_last_error());
    keep(d, s, &rows, input, label, first, out);
    last = rows.row;
  }
  d->ops->far->free(d, input);
  d->ops->far->free(d, label);
}

static void make_on_device(const source *s, pn_images_where where, const int64_t *order,
                           epoch_data *out) {
  pn_image_store_spec spec = {
      .reader = &s->reader, .capacity = BATCH, .where = where, .sharing = 1};
  pn_image_queue *queue = NULL;
  pn_device *d = NULL;

  if (pn_device_create(device_name, 2, &d) != PN_OK) fail_msg("%s", pn_last_error());
  spec.device = d;
  if (pn_image_queue_create(&spec, 1, 2, &queue) != PN_OK) fail_msg("%s", pn_last_error());
  assert_int_equal(pn_image_queue_decision(queue)->where, where);
  run_batches(d, s, queue, order, out);
  pn_image_queue_destroy(queue);
  pn_device_destroy(d);
}

/* All within a grey level, and far closer: only roundings differ. */
static void compare(const char *folder, const pn_augment_config *c, const char *what) {
  static epoch_data want, got;
  int64_t order[TRAIN], pixels;
  double worst = 0, sum = 0;
  source s;

  open_source(folder, c, &s);
  pixels = pn_reader_pixels(&s.reader);
  pn_sampler_permute(7, 3, TRAIN, order);
  read_on_host(&s, order, &want);
  for (pn_images_where w = PN_IMAGES_RESIDENT; w <= PN_IMAGES_STREAM; w++) {
    memset(&got, 0, sizeof got);
    make_on_device(&s, w, order, &got);
    for (int64_t i = 0; i < TRAIN; i++)
      for (int64_t k = 0; k < pixels; k++) {
        double d = fabs((double)got.input[i][k] - (double)want.input[i][k]);
        if (!(d <= worst)) worst = d;
        sum += d;
      }
    if (!(worst < 1 / 255.0 / (double)SD) || !(sum / (double)(2 * TRAIN * pixels) < 1e-5))
      fail_msg("%s, %s, %s: off by %g at most, %g on average", folder, what,
               pn_images_where_name(w), worst, sum / (double)(2 * TRAIN * pixels));
    assert_memory_equal(got.label, want.label, sizeof want.label);
    assert_memory_equal(got.label2, want.label2, sizeof want.label2);
    assert_memory_equal(got.mix, want.mix, sizeof want.mix);
    assert_memory_equal(got.id, want.id, sizeof want.id);
  }
  close_source(&s);
}

static void check_shape(int64_t channels, int64_t height, int64_t width, int bits) {
  const folder_shape shape = {channels, height, width, bits, SHARDS, TRAIN / SHARDS + 1};
  pn_augment_config all = {.seed = 5}, one;
  char folder[64];

  folder_make(&shape, folder);
  compare(folder, NULL, "no augmentation");
  for (pn_transform t = 0; t < PN_AUG_COUNT; t++) {
    if (t == PN_AUG_JITTER && channels != 3) continue;
    one = (pn_augment_config){.seed = 5, .black = t % 2};
    one.range[t] = all.range[t] = ranges[t];
    compare(folder, &one, pn_transform_name(t));
  }
  compare(folder, &all, "all, edge");
  all.black = true;
  compare(folder, &all, "all, black");
  folder_remove(folder);
}

static void test_one_channel(void **state) {
  (void)state;
  check_shape(1, 20, 24, 8);
  check_shape(1, 17, 23, 8);
}

static void test_channels(void **state) {
  (void)state;
  check_shape(2, 9, 12, 8);
  check_shape(3, 24, 20, 8);
  check_shape(4, 10, 13, 8);
}

static void test_sixteen_bits(void **state) {
  (void)state;
  check_shape(1, 20, 24, 16);
  check_shape(3, 11, 14, 16);
}

/* What is free decides, and an order that cannot be kept says what to do. */
static void test_room(void **state) {
  const folder_shape shape = {1, 24, 24, 8, SHARDS, TRAIN / SHARDS + 1};
  pn_image_store_spec spec = {.capacity = 1, .where = PN_IMAGES_AUTO, .sharing = 1};
  pn_image_store *store = NULL;
  char folder[64];
  source s;

  (void)state;
  folder_make(&shape, folder);
  open_source(folder, NULL, &s);
  spec.reader = &s.reader;
  for (int k = 0; k < 4; k++) { /* 9 KiB of images, 17 of levels and numbers */
    static const int64_t bytes[] = {2000000, 30000, 2000000, 2000000};
    static const int64_t reserve[] = {0, 0, 1980000, 0};
    static const int sharing[] = {1, 1, 1, 80};
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)bytes[k]);
    setenv("PN_EMULATED_BYTES", text, 1);
    assert_int_equal(pn_device_create("emulated", 1, &spec.device), PN_OK);
    spec.reserve = reserve[k];
    spec.sharing = sharing[k];
    spec.where = PN_IMAGES_AUTO;
    if (pn_image_store_create(&spec, &store) != PN_OK) fail_msg("%s", pn_last_error());
    assert_int_equal(pn_image_store_decision(store)->where,
                     k == 0 ? PN_IMAGES_RESIDENT : PN_IMAGES_STREAM);
    assert_int_equal(pn_image_store_decision(store)->bytes, TRAIN * 24 * 24);
    pn_image_store_destroy(store);
    spec.where = PN_IMAGES_RESIDENT;
    assert_int_equal(pn_image_store_create(&spec, &store), k == 0 ? PN_OK : PN_ERR_NOMEM);
    if (k) assert_non_null(strstr(pn_last_error(), "use device.images=stream or auto"));
    pn_image_store_destroy(store);
    pn_device_destroy(spec.device);
  }
  unsetenv("PN_EMULATED_BYTES");
  close_source(&s);
  folder_remove(folder);
}

/* Who fills the memory is told to whoever finds none. */
static void test_ledger(void **state) {
  const folder_shape shape = {1, 24, 24, 8, SHARDS, TRAIN / SHARDS + 1};
  pn_image_store_spec spec = {.capacity = 1, .where = PN_IMAGES_RESIDENT, .sharing = 1};
  pn_image_store *store = NULL;
  char folder[64];
  void *none = NULL;
  source s;

  (void)state;
  folder_make(&shape, folder);
  open_source(folder, NULL, &s);
  spec.reader = &s.reader;
  setenv("PN_EMULATED_BYTES", "200000", 1);
  assert_int_equal(pn_device_create("emulated", 1, &spec.device), PN_OK);
  assert_int_equal(pn_image_store_create(&spec, &store), PN_OK);
  assert_int_equal(spec.device->ops->far->alloc(spec.device, "parameters", 3 << 20, &none),
                   PN_ERR_NOMEM);
  if (!strstr(pn_last_error(),
              "no memory for parameters: 3.0 MiB asked, 0.2 MiB free; largest: ") ||
      !strstr(pn_last_error(), "images of the data set 0.0 MiB") ||
      !strstr(pn_last_error(), "; lower device.images to stream"))
    fail_msg("%s", pn_last_error());
  unsetenv("PN_EMULATED_BYTES");
  pn_image_store_destroy(store);
  pn_device_destroy(spec.device);
  close_source(&s);
  folder_remove(folder);
}

/* An image that is damaged is told before the training begins. */
static void test_damage(void **state) {
  const folder_shape shape = {1, 24, 24, 8, SHARDS, TRAIN / SHARDS + 1};
  pn_image_store_spec spec = {.capacity = 1, .where = PN_IMAGES_RESIDENT, .sharing = 1};
  pn_image_store *store = NULL;
  char folder[64];
  source s;

  (void)state;
  folder_make(&shape, folder);
  folder_damage(folder, &shape, 3);
  open_source(folder, NULL, &s);
  spec.reader = &s.reader;
  assert_int_equal(pn_device_create(device_name, 1, &spec.device), PN_OK);
  assert_int_equal(pn_image_store_create(&spec, &store), PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "CRC-32C"));
  assert_null(store);
  pn_device_destroy(spec.device);
  close_source(&s);
  folder_remove(folder);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_channel),  cmocka_unit_test(test_channels),
      cmocka_unit_test(test_sixteen_bits), cmocka_unit_test(test_room),
      cmocka_unit_test(test_ledger),       cmocka_unit_test(test_damage)};
  pn_device *d = NULL;

  device_name = argc > 1 ? test_device_name(argc, argv) : "emulated";
  if (!(d = test_device_open(device_name, 2))) return argc > 1 ? TEST_SKIPPED : 1;
  pn_device_destroy(d);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
