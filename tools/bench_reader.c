/* bench_reader.c -- random batches through pneuma's reader beside a raw mmap + memcpy of the same
 * bytes; both sides alternate in one run.  Usage: bench_reader [images=8192] [rounds=9] [threads=1]
 */
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/rng.h"
#include "cli/cli.h"
#include "data/prefetch.h"
#include "data/shard.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIDE = 256, IMAGE = SIDE * SIDE, BATCH = 128, PER_SHARD = 1024, MAX_ROUNDS = 101 };
enum { RAW, BYTES, BYTES_CHECKED, FLOATS, FLOATS_AHEAD, AUGMENTED, N_SIDES };
static const char *const names[N_SIDES] = {[RAW] = "raw mmap + memcpy",
                                           [BYTES] = "reader, the same bytes",
                                           [BYTES_CHECKED] = "reader, CRC of every image",
                                           [FLOATS] = "reader, normalised f32",
                                           [FLOATS_AHEAD] = "reader, f32 by prefetch threads",
                                           [AUGMENTED] = "reader, f32, affine augmentation"};

typedef struct {
  int images, rounds, threads;
  char folder[64];
  int64_t *order;
  uint8_t *raw; /* map of the flat file */
  uint8_t *batch;
  pn_rows rows;
  float *scratch;
  pn_dataset *data;
  pn_reader plain, augmented;
  pn_augment *augment;
  pn_prefetch *ahead;
  double seconds[N_SIDES][MAX_ROUNDS];
} bench;

/* ---- the data: shards, and one flat file of the same pixels in the same order ---- */

static void draw_image(int number, uint8_t *out) {
  pn_rng r = pn_rng_make(1, PN_RNG_TEST, (uint64_t)number, 0);

  for (int i = 0; i < IMAGE; i += 4) {
    uint32_t word = pn_rng_u32(&r);
    memcpy(out + i, &word, 4);
  }
}

static pn_status write_shard(const bench *b, int k, int n, FILE *flat, json_t *list) {
  pn_shard_format format = {1, SIDE, SIDE, 8, "a,b", "bench", "bench"};
  pn_shard_row row = {.id = "0123456789abcdef0123456789abcdef"};
  char split[PER_SHARD + 1] = "";
  pn_shard_writer *w = NULL;
  pn_shard_summary s;
  pn_status st = PN_OK;

  PN_TRY(pn_shard_writer_create(&format, n, &w));
  for (int i = 0; i < n; i++) {
    uint8_t *to = pn_shard_writer_next(w);
    draw_image(k * PER_SHARD + i, to);
    if (fwrite(to, 1, IMAGE, flat) != IMAGE) PN_TRY(PN_FAIL(PN_ERR_IO, "cannot write the data"));
    split[i] = 't';
    PN_TRY(pn_shard_writer_append(w, &row, NULL));
  }
  PN_TRY(pn_shard_writer_publish(w, b->folder, k, &s));
  json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:s,s:s}", "file", s.file, "images",
                                        (json_int_t)s.images, "bytes", (json_int_t)s.bytes,
                                        "sha256", s.sha256, "split", split));
done:
  pn_shard_writer_destroy(w);
  return st;
}

static pn_status write_index(const bench *b, json_t *list) {
  json_t *index =
      json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:[ss],s:{s:i},s:O}", "format", PN_INDEX_FORMAT,
                "version", PN_INDEX_VERSION, "channels", 1, "height", SIDE, "width", SIDE, "bits",
                8, "classes", "a", "b", "splits", "train", b->images, "shards", list);
  char *text = json_dumps(index, JSON_COMPACT | JSON_SORT_KEYS), hex[65], path[PATH_MAX];
  pn_sha256 *sha = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_sha256_create(&sha));
  pn_sha256_update(sha, text, strlen(text));
  pn_sha256_hex(sha, hex);
  free(text);
  json_object_set_new(index, "digest", json_string(hex));
  text = json_dumps(index, JSON_COMPACT);
  PN_TRY(pn_path_join(path, sizeof path, b->folder, PN_INDEX_NAME));
  PN_TRY(pn_file_write(path, text, strlen(text)));
done:
  pn_sha256_destroy(sha);
  free(text);
  json_decref(index);
  return st;
}

static pn_status map_flat(bench *b, const char *path) {
  int fd = open(path, O_RDONLY);
  void *map = mmap(NULL, (size_t)b->images * IMAGE, PROT_READ, MAP_SHARED, fd, 0);

  close(fd);
  if (fd < 0 || map == MAP_FAILED) return PN_FAIL(PN_ERR_IO, "cannot map %s", path);
  b->raw = map;
  return PN_OK;
}

static pn_status write_data(bench *b) {
  char path[PATH_MAX];
  json_t *list = json_array();
  FILE *flat = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(path, sizeof path, b->folder, "flat.raw"));
  if (!(flat = fopen(path, "wb"))) PN_TRY(PN_FAIL(PN_ERR_IO, "cannot write %s", path));
  for (int k = 0; k * PER_SHARD < b->images; k++) {
    int left = b->images - k * PER_SHARD;
    PN_TRY(write_shard(b, k, left < PER_SHARD ? left : PER_SHARD, flat, list));
  }
  PN_TRY(write_index(b, list));
  if (fclose(flat) != 0) st = PN_FAIL(PN_ERR_IO, "cannot write %s", path);
  flat = NULL;
  if (st == PN_OK) st = map_flat(b, path);
done:
  if (flat) fclose(flat);
  json_decref(list);
  return st;
}

static void remove_data(const bench *b) {
  char path[PATH_MAX];

  for (int k = 0; k * PER_SHARD < b->images; k++) {
    snprintf(path, sizeof path, "%s/shard-%05d.h5", b->folder, k);
    unlink(path);
  }
  snprintf(path, sizeof path, "%s/flat.raw", b->folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/" PN_INDEX_NAME, b->folder);
  unlink(path);
  rmdir(b->folder);
}

/* ---- the sides: every image once, in a new random order, in batches ---- */

static pn_status pass_bytes(bench *b, bool raw) {
  pn_sample s = {.pixels = NULL};

  for (int64_t i = 0; i < b->images; i++) {
    pn_status st = PN_OK;
    if (raw)
      s.pixels = b->raw + b->order[i] * IMAGE;
    else
      st = pn_dataset_get(b->data, PN_TRAIN, b->order[i], &s);
    if (st != PN_OK) return st;
    memcpy(b->batch + i % BATCH * IMAGE, s.pixels, IMAGE);
  }
  return PN_OK;
}

static pn_status pass_floats(bench *b, const pn_reader *r, uint32_t epoch) {
  pn_status st = PN_OK;

  for (int64_t i = 0; st == PN_OK && i < b->images; i += BATCH) {
    st = pn_reader_reach(r, epoch, b->order + i, BATCH);
    for (int64_t k = 0; st == PN_OK && k < BATCH; k++)
      st = pn_reader_read(r, epoch, b->order[i + k], b->scratch, &b->rows, k);
  }
  return st;
}

static pn_status pass_ahead(bench *b, uint32_t epoch) {
  int64_t queued = 0;
  pn_rows rows;
  pn_status st = PN_OK;

  for (int64_t i = 0; st == PN_OK && i < b->images; i += BATCH) {
    for (; queued < b->images && !pn_prefetch_full(b->ahead); queued += BATCH)
      pn_prefetch_submit(b->ahead, epoch, b->order + queued, BATCH);
    st = pn_prefetch_take(b->ahead, &rows);
    pn_prefetch_release(b->ahead);
  }
  return st;
}

static pn_status pass(bench *b, int side, uint32_t epoch) {
  pn_dataset_set_check(b->data, side == BYTES_CHECKED ? PN_CHECK_ALWAYS : PN_CHECK_FIRST);
  switch (side) {
  case FLOATS:
    return pass_floats(b, &b->plain, epoch);
  case FLOATS_AHEAD:
    return pass_ahead(b, epoch);
  case AUGMENTED:
    return pass_floats(b, &b->augmented, epoch);
  default:
    return pass_bytes(b, side == RAW);
  }
}

/* Round 0 brings everything into memory and is not counted. */
static pn_status measure(bench *b) {
  pn_status st = PN_OK;

  for (int round = 0; round <= b->rounds; round++)
    for (int k = 0; k < N_SIDES; k++) {
      int side = (k + round) % N_SIDES;
      double t0;
      pn_sampler_permute(1, (uint32_t)round, b->images, b->order);
      t0 = pn_now();
      PN_TRY(pass(b, side, (uint32_t)round));
      if (round > 0) b->seconds[side][round - 1] = pn_now() - t0;
    }
done:
  return st;
}

/* ---- setting up and telling ---- */

static pn_status make_readers(bench *b) {
  const pn_augment_config c = {.range = {[PN_AUG_HFLIP] = 0.5,
                                         [PN_AUG_ROTATE] = 10,
                                         [PN_AUG_ZOOM] = 0.1,
                                         [PN_AUG_TRANSLATE] = 0.05},
                               .seed = 1};
  pn_prefetch_spec ahead = {
      .reader = &b->plain, .capacity = BATCH, .depth = 2, .threads = b->threads};
  pn_status st = PN_OK;

  PN_TRY(pn_dataset_open(b->folder, &b->data));
  b->plain = b->augmented = pn_reader_make(b->data, PN_TRAIN, 0.5f, 0.25f);
  PN_TRY(pn_augment_create(&c, &b->plain.format, &b->augment));
  b->augmented.augment = b->augment;
  PN_TRY(pn_prefetch_create(&ahead, &b->ahead));
done:
  return st;
}

static pn_status allocate(bench *b) {
  b->order = malloc((size_t)b->images * sizeof *b->order);
  b->batch = aligned_alloc(64, (size_t)BATCH * IMAGE);
  b->rows = (pn_rows){.input = aligned_alloc(64, (size_t)BATCH * IMAGE * sizeof(float)),
                      .label = malloc(BATCH * sizeof(int32_t)),
                      .label2 = malloc(BATCH * sizeof(int32_t)),
                      .mix = malloc(BATCH * sizeof(float)),
                      .id = malloc(BATCH * sizeof(uint64_t))};
  b->scratch = malloc(2 * IMAGE * sizeof *b->scratch);
  if (b->order && b->batch && b->rows.input && b->rows.label && b->rows.label2 && b->rows.mix &&
      b->rows.id && b->scratch)
    return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "out of memory");
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void tell(bench *b) {
  double raw = 0;
  json_t *v = pn_versions_json();
  char *text = json_dumps(v, JSON_COMPACT);

  printf("%s\n%d images of %d x %d in %d shards, random batches of %d, %d rounds, one thread; "
         "prefetch: 2 batches, %d thread%s\n\n",
         text ? text : "", b->images, SIDE, SIDE, (b->images + PER_SHARD - 1) / PER_SHARD, BATCH,
         b->rounds, b->threads, b->threads == 1 ? "" : "s");
  printf("%-34s %12s %10s %8s %16s\n", "median", "images/s", "GB/s in", "of raw", "ms per batch");
  for (int k = 0; k < N_SIDES; k++) {
    double s;
    qsort(b->seconds[k], (size_t)b->rounds, sizeof(double), by_value);
    s = b->seconds[k][b->rounds / 2];
    if (k == RAW) raw = s;
    printf("%-34s %12.0f %10.2f %8.2f %16.3f\n", names[k], b->images / s,
           (double)b->images * IMAGE / s * 1e-9, raw / s, s * 1e3 * BATCH / b->images);
  }
  free(text);
  json_decref(v);
}

static bool parse(int argc, char **argv, bench *b) {
  for (int i = 1; i < argc; i++)
    if (sscanf(argv[i], "images=%d", &b->images) != 1 &&
        sscanf(argv[i], "rounds=%d", &b->rounds) != 1 &&
        sscanf(argv[i], "threads=%d", &b->threads) != 1)
      return false;
  return b->images >= BATCH && b->images % BATCH == 0 && b->rounds >= 1 &&
         b->rounds <= MAX_ROUNDS && b->threads >= 1;
}

static void release(bench *b) {
  pn_prefetch_destroy(b->ahead);
  pn_augment_destroy(b->augment);
  pn_dataset_close(b->data);
  if (b->raw) munmap(b->raw, (size_t)b->images * IMAGE);
  free(b->order);
  free(b->batch);
  free(b->rows.input);
  free(b->rows.label);
  free(b->rows.label2);
  free(b->rows.mix);
  free(b->rows.id);
  free(b->scratch);
}

int main(int argc, char **argv) {
  static bench b = {.images = 8192, .rounds = 9, .threads = 1, .folder = "/tmp/pn_bench_XXXXXX"};
  pn_status st = PN_OK;

  if (!parse(argc, argv, &b)) {
    fprintf(stderr, "usage: bench_reader [images=N: a multiple of %d] [rounds=1..%d] [threads=N]\n",
            BATCH, MAX_ROUNDS);
    return 2;
  }
  if (!mkdtemp(b.folder)) return 1;
  PN_TRY(allocate(&b));
  PN_TRY(write_data(&b));
  PN_TRY(make_readers(&b));
  PN_TRY(measure(&b));
  tell(&b);
done:
  if (st != PN_OK) fprintf(stderr, "bench_reader: %s\n", pn_last_error());
  release(&b);
  remove_data(&b);
  return st != PN_OK;
}
