/* test_prefetch.c -- images as the network gets them: the same bits at any number of threads and
 * batches ahead; checksums by mode; errors at the batch that has the image; ends at any moment. */
#include "unit/shard_folder.h"

#include "data/prefetch.h"

static const folder_shape shape = {1, 20, 24, 8, 3, 40};
enum { TRAIN = 3 * 39, PIXELS = 20 * 24, BATCH = 16 };

static char folder[64];
static const pn_augment_config all = {.range = {[PN_AUG_GAMMA] = 0.3,
                                                [PN_AUG_CONTRAST] = 0.3,
                                                [PN_AUG_BRIGHTNESS] = 0.2,
                                                [PN_AUG_HFLIP] = 0.5,
                                                [PN_AUG_ROTATE] = 20,
                                                [PN_AUG_NOISE] = 0.1,
                                                [PN_AUG_CUTOUT] = 0.3,
                                                [PN_AUG_MIXUP] = 0.5},
                                      .seed = 3};

static int set_up(void **state) {
  (void)state;
  folder_make(&shape, folder);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  folder_remove(folder);
  return 0;
}

typedef struct {
  pn_dataset *data;
  pn_augment *augment;
  pn_reader reader;
} source;

static void open_source(const pn_augment_config *c, source *s) {
  *s = (source){.data = NULL};
  if (pn_dataset_open(folder, &s->data) != PN_OK) fail_msg("%s", pn_last_error());
  s->reader = pn_reader_make(s->data, PN_TRAIN, 0.5f, 0.25f);
  if (c) assert_int_equal(pn_augment_create(c, &s->reader.format, &s->augment), PN_OK);
  s->reader.augment = s->augment;
}

static void close_source(source *s) {
  pn_augment_destroy(s->augment);
  pn_dataset_close(s->data);
}

/* One epoch as the step would see it. */
typedef struct {
  float input[TRAIN][PIXELS], mix[TRAIN];
  int32_t label[TRAIN], label2[TRAIN];
  uint64_t id[TRAIN];
} epoch_data;

static void keep(const pn_rows *rows, int64_t first, int64_t n, epoch_data *out) {
  memcpy(out->input[first], rows->input, (size_t)n * sizeof out->input[0]);
  memcpy(out->mix + first, rows->mix, (size_t)n * sizeof *out->mix);
  memcpy(out->label + first, rows->label, (size_t)n * sizeof *out->label);
  memcpy(out->label2 + first, rows->label2, (size_t)n * sizeof *out->label2);
  memcpy(out->id + first, rows->id, (size_t)n * sizeof *out->id);
}

static int64_t batch_size(int64_t first, int64_t batch) {
  return TRAIN - first < batch ? TRAIN - first : batch;
}

static void run_epoch(const pn_augment_config *c, pn_prefetch_spec spec, const int64_t *order,
                      epoch_data *out) {
  source s;
  pn_prefetch *p = NULL;
  int64_t queued = 0;
  open_source(c, &s);
  spec.reader = &s.reader;
  assert_int_equal(pn_prefetch_create(&spec, &p), PN_OK);
  for (int64_t first = 0; first < TRAIN; first += spec.capacity) {
    pn_rows rows;
    for (; queued < TRAIN && !pn_prefetch_full(p); queued += spec.capacity)
      pn_prefetch_submit(p, 2, order + queued, batch_size(queued, spec.capacity));
    if (pn_prefetch_take(p, &rows) != PN_OK) fail_msg("%s", pn_last_error());
    keep(&rows, first, batch_size(first, spec.capacity), out);
    pn_prefetch_release(p);
  }
  pn_prefetch_destroy(p);
  close_source(&s);
}

static void test_same_bits(void **state) {
  static epoch_data want, got;
  static const pn_prefetch_spec specs[] = {{.capacity = BATCH, .depth = 1, .threads = 1},
                                           {.capacity = BATCH, .depth = 2, .threads = 3},
                                           {.capacity = BATCH, .depth = 5, .threads = 2},
                                           {.capacity = 7, .depth = 3, .threads = 4},
                                           {.capacity = TRAIN, .depth = 1, .threads = 8}};
  const pn_augment_config *kinds[] = {NULL, &all};
  int64_t order[TRAIN];
  int mixed = 0;
  (void)state;
  pn_sampler_permute(4, 2, TRAIN, order);
  for (int k = 0; k < 2; k++) {
    source s;
    float *scratch;
    pn_rows rows = {.input = want.input[0],
                    .label = want.label,
                    .label2 = want.label2,
                    .mix = want.mix,
                    .id = want.id};
    open_source(kinds[k], &s);
    scratch = malloc((size_t)pn_reader_scratch(&s.reader) * sizeof *scratch);
    for (int64_t i = 0; i < TRAIN; i++)
      assert_int_equal(pn_reader_read(&s.reader, 2, order[i], scratch, &rows, i), PN_OK);
    for (size_t v = 0; v < sizeof specs / sizeof *specs; v++) {
      run_epoch(kinds[k], specs[v], order, &got);
      assert_memory_equal(&got, &want, sizeof want);
    }
    for (int i = 0; i < TRAIN; i++) mixed += want.mix[i] < 1;
    free(scratch);
    close_source(&s);
  }
  assert_int_equal(mixed, TRAIN); /* none without augmentation, all with it */
}

/* A mixed image is the weighted sum of two images that are augmented by themselves. */
static void check_mixup(const pn_class_groups *groups) {
  static float mixed[PIXELS], one[PIXELS], other[PIXELS];
  pn_augment_config plain = all;
  int32_t label[2], label2[2];
  float share[2], *scratch;
  uint64_t id[2];
  pn_rows rows = {.input = mixed, .label = label, .label2 = label2, .mix = share, .id = id};
  source a, b;
  pn_draw d;
  plain.range[PN_AUG_MIXUP] = 0;
  open_source(&all, &a);
  a.reader.groups = groups;
  open_source(&plain, &b);
  scratch = malloc((size_t)pn_reader_scratch(&a.reader) * sizeof *scratch);
  assert_true(pn_reader_mixes(&a.reader) && !pn_reader_mixes(&b.reader));
  assert_int_equal(pn_reader_read(&a.reader, 1, 5, scratch, &rows, 0), PN_OK);
  d = pn_augment_draw(a.augment, 1, id[0], TRAIN);
  if (groups) d.partner = groups->image[0];
  rows.input = one;
  rows.label = rows.label2 = &label[1];
  rows.mix = &share[1];
  assert_int_equal(pn_reader_read(&b.reader, 1, 5, scratch, &rows, 0), PN_OK);
  assert_int_equal(label[1], label[0]);
  rows.input = other;
  assert_int_equal(pn_reader_read(&b.reader, 1, d.partner, scratch, &rows, 0), PN_OK);
  assert_int_equal(label[1], label2[0]);
  for (int i = 0; i < PIXELS; i++)
    assert_true(mixed[i] == (float)d.mix * one[i] + (1 - (float)d.mix) * other[i]);
  free(scratch);
  close_source(&a);
  close_source(&b);
}

static void test_mixup(void **state) {
  int64_t first[] = {0, 1}, image[] = {3};
  pn_class_groups one = {1, first, image};
  (void)state;
  check_mixup(NULL);
  check_mixup(&one); /* a balanced draw: from these images only */
}

/* The batch with the damaged image fails, with its message; those before and behind do not. */
static void test_error_at_its_batch(void **state) {
  int64_t order[TRAIN];
  pn_prefetch *p = NULL;
  source s;
  pn_rows rows;
  (void)state;
  for (int i = 0; i < TRAIN; i++) order[i] = i;
  folder_damage(folder, &shape, 50); /* number 50 is training image 49: the val ones are left out */
  open_source(NULL, &s);
  assert_int_equal(
      pn_prefetch_create(
          &(pn_prefetch_spec){.reader = &s.reader, .capacity = BATCH, .depth = 3, .threads = 2},
          &p),
      PN_OK);
  for (int b = 0; b < 7; b++) {
    pn_prefetch_submit(p, 0, order + b * BATCH, BATCH);
    pn_status st = pn_prefetch_take(p, &rows);
    assert_int_equal(st, b == 49 / BATCH ? PN_ERR_FORMAT : PN_OK);
    if (st != PN_OK) {
      assert_non_null(strstr(pn_last_error(), "shard-00001.h5: image 10 (number 50"));
    }
    pn_prefetch_release(p);
  }
  pn_prefetch_submit(p, 0, (int64_t[]){TRAIN}, 1); /* no such image: found by submit */
  assert_int_equal(pn_prefetch_take(p, &rows), PN_ERR_ARG);
  pn_prefetch_release(p);
  pn_prefetch_destroy(p);
  close_source(&s);
}

static pn_status read_once(source *s, int64_t i) {
  pn_sample x;
  return pn_dataset_get(s->data, PN_TRAIN, i, &x);
}

/* Damage after the first visit is seen by `always` only; damage before it by all but `never`. */
static void test_check_modes(void **state) {
  static const pn_check modes[] = {PN_CHECK_FIRST, PN_CHECK_ALWAYS, PN_CHECK_NEVER};
  (void)state;
  for (int m = 0; m < 3; m++) {
    source s;
    open_source(NULL, &s);
    pn_dataset_set_check(s.data, modes[m]);
    assert_int_equal(read_once(&s, 7), PN_OK);
    folder_damage(folder, &shape, 7);
    assert_int_equal(read_once(&s, 7), modes[m] == PN_CHECK_ALWAYS ? PN_ERR_FORMAT : PN_OK);
    close_source(&s);
    open_source(NULL, &s);
    pn_dataset_set_check(s.data, modes[m]);
    assert_int_equal(read_once(&s, 7), modes[m] == PN_CHECK_NEVER ? PN_OK : PN_ERR_FORMAT);
    close_source(&s);
    folder_remove(folder);
    folder_make(&shape, folder);
  }
}

/* Destroyed with everything queued, half done, or never used; and refused without threads. */
static void test_ends_at_any_moment(void **state) {
  int64_t order[TRAIN];
  source s;
  pn_prefetch *p = NULL;
  pn_rows rows;
  (void)state;
  pn_sampler_permute(1, 1, TRAIN, order);
  open_source(&all, &s);
  for (int round = 0; round < 20; round++) {
    assert_int_equal(pn_prefetch_create(&(pn_prefetch_spec){.reader = &s.reader,
                                                            .capacity = BATCH,
                                                            .depth = 4,
                                                            .threads = 1 + round % 3},
                                        &p),
                     PN_OK);
    for (int k = 0; k < round % 5; k++) pn_prefetch_submit(p, 1, order + k * BATCH, BATCH);
    if (round % 5 > 1) {
      assert_int_equal(pn_prefetch_take(p, &rows), PN_OK);
      pn_prefetch_release(p);
    }
    if (round % 4 == 0) {
      pn_prefetch_drop(p);
      pn_prefetch_submit(p, 1, order, BATCH);
      assert_int_equal(pn_prefetch_take(p, &rows), PN_OK);
    }
    pn_prefetch_destroy(p);
  }
  assert_int_equal(
      pn_prefetch_create(
          &(pn_prefetch_spec){.reader = &s.reader, .capacity = BATCH, .depth = 0, .threads = 1},
          &p),
      PN_ERR_ARG);
  assert_int_equal(
      pn_prefetch_create(
          &(pn_prefetch_spec){.reader = &s.reader, .capacity = BATCH, .depth = 1, .threads = 0},
          &p),
      PN_ERR_ARG);
  pn_prefetch_destroy(NULL);
  close_source(&s);
}

int main(void) {
#define WITH_FILES(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      WITH_FILES(test_same_bits), WITH_FILES(test_mixup), WITH_FILES(test_error_at_its_batch),
      WITH_FILES(test_check_modes), WITH_FILES(test_ends_at_any_moment)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
