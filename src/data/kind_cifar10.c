/* kind_cifar10.c -- the binary version of CIFAR-10: records of a label and 3 x 32 x 32 bytes. */
#include "base/file.h"
#include "data/input.h"
#include "data/kind.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE, CLASSES = 10 };

static const char *const names[CLASSES] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                           "dog",      "frog",       "horse", "ship", "truck"};

static const char *base_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static bool is_batch(const char *path) {
  const char *name = base_of(path);
  return fnmatch("data_batch_*.bin", name, 0) == 0 || strcmp(name, "test_batch.bin") == 0;
}

static bool detect(const pn_listing *l, char found[PN_FOUND_BYTES]) {
  int64_t n = 0;

  for (int64_t i = 0; i < l->n; i++) n += is_batch(l->entry[i].path);
  snprintf(found, PN_FOUND_BYTES, "%lld CIFAR-10 batches (data_batch_*.bin, test_batch.bin)",
           (long long)n);
  return n > 0;
}

static pn_status open_batches(pn_listing *l, pn_ingest_source *s) {
  int64_t n = 0;
  (void)s;

  for (int64_t i = 0; i < l->n; i++) {
    pn_list_entry *e = &l->entry[i];
    n += is_batch(e->path);
    if (!e->skip_reason && !is_batch(e->path)) e->skip_reason = "other_file";
  }
  if (n > 0) return PN_OK;
  return PN_FAIL(PN_ERR_ARG,
                 "%s holds no CIFAR-10 batches (data_batch_1.bin ... test_batch.bin of the binary "
                 "version); class folders of pictures are ingest.kind=folders",
                 l->cfg->in);
}

/* A file that is no whole number of records counts as one, which is then rejected. */
static int64_t images(const char *path, int64_t size) {
  return is_batch(path) && size > 0 && size % RECORD == 0 ? size / RECORD : 1;
}

static pn_status prepare(pn_ingest *x) {
  pn_labels *l = &x->source.labels;

  l->n_classes = CLASSES;
  for (int i = 0; i < CLASSES; i++) snprintf(l->class_name[i], PN_CLASS_BYTES, "%s", names[i]);
  if (x->cfg->only[0])
    return PN_FAIL(PN_ERR_ARG, "ingest.only is not for CIFAR-10 batches: they have ten classes");
  return PN_OK;
}

/* The batch of that file, read once. */
static pn_status load(pn_ingest_worker *w, const pn_ingest_file *f, pn_reject *why) {
  char path[PATH_MAX];
  pn_status st;

  if (w->loaded == f->path) return PN_OK;
  w->loaded = NULL;
  if ((st = pn_path_join(path, sizeof path, w->x->cfg->in, f->path)) != PN_OK) return st;
  if ((st = pn_input_read(&w->input, path, why)) != PN_OK || why->reason[0]) return st;
  if (w->input.bytes % RECORD != 0)
    pn_reject_set(why, "bad_batch_size", NULL, "%zu bytes, expected a multiple of %d",
                  w->input.bytes, RECORD);
  else if ((int64_t)w->input.bytes != f->size)
    pn_reject_set(why, "file_changed", NULL, "%zu bytes, %lld when it was listed", w->input.bytes,
                  (long long)f->size);
  else
    w->loaded = f->path;
  return PN_OK;
}

static pn_status read_image(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                            pn_reject *why) {
  const pn_ingest_file *f = &w->x->source.file[file];
  const uint8_t *record;
  uint8_t *to;
  pn_status st;

  if ((st = load(w, f, why)) != PN_OK || why->reason[0]) return st;
  record = w->input.data + (size_t)f->number * RECORD;
  if (record[0] >= CLASSES) {
    pn_reject_set(why, "bad_label", NULL, "class %d, expected 0 to 9", record[0]);
    return PN_OK;
  }
  if ((st = pn_gray_reserve_rgb(&w->image, SIDE, SIDE, 1)) != PN_OK) return st;
  to = w->image.data;
  for (int i = 0; i < PLANE; i++)
    for (int c = 0; c < 3; c++) *to++ = record[1 + c * PLANE + i];
  image->own = (pn_label){.id = f->path,
                          .target = record[0],
                          .split = base_of(f->path)[0] == 't' ? PN_TEST : PN_TRAIN,
                          .age = -1};
  image->label = &image->own;
  image->info.rows = image->info.columns = SIDE;
  image->info.age_years = -1;
  return PN_OK;
}

const pn_kind pn_kind_cifar10 = {.name = "cifar10",
                                 .what = "CIFAR-10, binary batches",
                                 .channels = 3,
                                 .detect = detect,
                                 .open = open_batches,
                                 .prepare = prepare,
                                 .read = read_image,
                                 .images = images};
