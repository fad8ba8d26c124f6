/* shard_write.c -- a shard is collected in memory, then written as one HDF5 file under a temporary
 * name and published by rename.  Every HDF5 return value is checked: a full disk shows up late. */
#include "data/shard.h"

#include "base/digest.h"
#include "base/file.h"
#include "data/shard_columns.h"
#include "data/shard_hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGN_BYTES = 4096, SHA_BYTES = 32, ID_CHARS = PN_SHARD_ID_BYTES - 1 };

struct pn_shard_writer {
  int64_t channels, height, width;
  int bits;
  char *classes, *decoder, *plan;
  int64_t capacity, n;
  size_t image_bytes;
  uint8_t *pixels, *label, *sha; /* [capacity][image_bytes], [capacity], [capacity][32] */
  uint32_t *crc, *box_start;     /* [capacity], [capacity + 1] */
  char *id;                      /* [capacity][32], no NULs */
  pn_shard_meta *meta;           /* [capacity] */
  float (*box)[5];
  int64_t n_boxes, box_capacity;
};

static pn_status writer_alloc(pn_shard_writer *w, const pn_shard_format *f) {
  size_t n = (size_t)w->capacity;

  w->classes = strdup(f->classes);
  w->decoder = strdup(f->decoder);
  w->plan = strdup(f->plan);
  w->pixels = malloc(n * w->image_bytes);
  w->label = calloc(n, 1);
  w->sha = calloc(n, SHA_BYTES);
  w->crc = calloc(n, sizeof *w->crc);
  w->box_start = calloc(n + 1, sizeof *w->box_start);
  w->id = calloc(n, ID_CHARS);
  w->meta = calloc(n, sizeof *w->meta);
  if (w->classes && w->decoder && w->plan && w->pixels && w->label && w->sha && w->crc &&
      w->box_start && w->id && w->meta)
    return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "shard of %lld images (%zu bytes): out of memory",
                 (long long)w->capacity, n * w->image_bytes);
}

pn_status pn_shard_writer_create(const pn_shard_format *f, int64_t capacity,
                                 pn_shard_writer **out) {
  pn_shard_writer *w = NULL;
  pn_status st = PN_OK;

  *out = NULL;
  if (capacity < 1 || f->channels < 1 || f->height < 1 || f->width < 1 ||
      (f->bits != 8 && f->bits != 16))
    return PN_FAIL(PN_ERR_ARG, "shard of %lld images of %lld x %lld x %lld, %d bits",
                   (long long)capacity, (long long)f->channels, (long long)f->height,
                   (long long)f->width, f->bits);
  H5dont_atexit(); /* after a full disk a file cannot be closed, and HDF5's own exit would crash */
  if (!(w = calloc(1, sizeof *w))) return PN_FAIL(PN_ERR_NOMEM, "shard writer: out of memory");
  w->channels = f->channels;
  w->height = f->height;
  w->width = f->width;
  w->bits = f->bits;
  w->capacity = capacity;
  w->image_bytes = (size_t)(f->channels * f->height * f->width * (f->bits / 8));
  PN_TRY(writer_alloc(w, f));
  *out = w;
  w = NULL;
done:
  pn_shard_writer_destroy(w);
  return st;
}

void pn_shard_writer_destroy(pn_shard_writer *w) {
  if (!w) return;
  free(w->classes);
  free(w->decoder);
  free(w->plan);
  free(w->pixels);
  free(w->label);
  free(w->sha);
  free(w->crc);
  free(w->box_start);
  free(w->id);
  free(w->meta);
  free(w->box);
  free(w);
}

void *pn_shard_writer_next(pn_shard_writer *w) {
  return w->n < w->capacity ? w->pixels + (size_t)w->n * w->image_bytes : NULL;
}

int64_t pn_shard_writer_count(const pn_shard_writer *w) {
  return w->n;
}

static pn_status add_boxes(pn_shard_writer *w, const pn_shard_row *row) {
  int64_t need = w->n_boxes + row->n_boxes;

  if (need > w->box_capacity) {
    int64_t capacity = 2 * need + 64;
    float(*box)[5] = realloc(w->box, (size_t)capacity * sizeof *box);
    if (!box) return PN_FAIL(PN_ERR_NOMEM, "shard writer: out of memory");
    w->box = box;
    w->box_capacity = capacity;
  }
  for (int64_t i = 0; i < row->n_boxes; i++) {
    const pn_box *b = &row->boxes[i];
    float *to = w->box[w->n_boxes++];
    to[0] = b->x;
    to[1] = b->y;
    to[2] = b->width;
    to[3] = b->height;
    to[4] = b->label;
  }
  w->box_start[w->n + 1] = (uint32_t)w->n_boxes;
  return PN_OK;
}

static pn_status pixel_digests(pn_shard_writer *w) {
  const uint8_t *pixels = w->pixels + (size_t)w->n * w->image_bytes;
  pn_sha256 *sha = NULL;
  pn_status st = pn_sha256_create(&sha);

  if (st != PN_OK) return st;
  pn_sha256_update(sha, pixels, w->image_bytes);
  pn_sha256_bytes(sha, w->sha + (size_t)w->n * SHA_BYTES);
  pn_sha256_destroy(sha);
  w->crc[w->n] = pn_crc32c(0, pixels, w->image_bytes);
  return PN_OK;
}

pn_status pn_shard_writer_append(pn_shard_writer *w, const pn_shard_row *row, uint8_t sha256[32]) {
  pn_status st;

  if (w->n == w->capacity)
    return PN_FAIL(PN_ERR_ARG, "shard is full: %lld images", (long long)w->capacity);
  if (row->label < 0 || row->label > 255 || strlen(row->id) != ID_CHARS)
    return PN_FAIL(PN_ERR_ARG, "shard row: label %d, id of %zu characters", row->label,
                   strlen(row->id));
  if ((st = pixel_digests(w)) != PN_OK) return st;
  if ((st = add_boxes(w, row)) != PN_OK) return st;
  if (sha256) memcpy(sha256, w->sha + (size_t)w->n * SHA_BYTES, SHA_BYTES);
  w->label[w->n] = (uint8_t)row->label;
  memcpy(w->id + (size_t)w->n * ID_CHARS, row->id, ID_CHARS);
  w->meta[w->n] = row->meta;
  w->n++;
  return PN_OK;
}

/* The deepest entry of HDF5's error stack: where the system's reason is. */
static herr_t deepest(unsigned n, const H5E_error2_t *e, void *text) {
  (void)n;
  if (e->desc) snprintf(text, 256, "%s", e->desc);
  return 0;
}

/* HDF5's text names the system's error among much else, over two lines. */
static pn_status hdf5_failed(const char *path, const char *what) {
  char why[256] = "unknown HDF5 error", *found;
  int error = 0;

  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, deepest, why);
  if ((found = strstr(why, "errno = ")) != NULL) error = (int)strtol(found + 8, NULL, 10);
  why[strcspn(why, "\n")] = 0;
  return PN_FAIL(
      PN_ERR_IO, "%s: %s: %s%s", path, what, error ? strerror(error) : why,
      error == ENOSPC || error == EDQUOT ? ": make room, then give the same command again" : "");
}

struct dataset {
  const char *name;
  hid_t type; /* borrowed */
  int rank;
  hsize_t dims[4];
  const void *data;
};

static pn_status write_dataset(hid_t file, const char *path, const struct dataset *d) {
  hid_t space = -1, plist = -1, set = -1;
  pn_status st = PN_OK;

  if ((space = H5Screate_simple(d->rank, d->dims, NULL)) < 0 ||
      (plist = H5Pcreate(H5P_DATASET_CREATE)) < 0 || H5Pset_layout(plist, H5D_CONTIGUOUS) < 0 ||
      H5Pset_alloc_time(plist, H5D_ALLOC_TIME_EARLY) < 0 ||
      H5Pset_fill_time(plist, H5D_FILL_TIME_NEVER) < 0 ||
      H5Pset_obj_track_times(plist, false) < 0 ||
      (set = H5Dcreate2(file, d->name, d->type, space, H5P_DEFAULT, plist, H5P_DEFAULT)) < 0)
    st = hdf5_failed(path, d->name);
  if (st == PN_OK && d->dims[0] > 0 &&
      H5Dwrite(set, d->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, d->data) < 0)
    st = hdf5_failed(path, d->name);
  if (set >= 0 && H5Dclose(set) < 0 && st == PN_OK) st = hdf5_failed(path, d->name);
  if (plist >= 0) H5Pclose(plist);
  if (space >= 0) H5Sclose(space);
  return st;
}

static pn_status write_attribute(hid_t file, const char *path, const char *name, hid_t type,
                                 const void *value) {
  hid_t space = H5Screate(H5S_SCALAR), attr = -1;
  pn_status st = PN_OK;

  if (space < 0 || (attr = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT)) < 0 ||
      H5Awrite(attr, type, value) < 0)
    st = hdf5_failed(path, name);
  if (attr >= 0 && H5Aclose(attr) < 0 && st == PN_OK) st = hdf5_failed(path, name);
  if (space >= 0) H5Sclose(space);
  return st;
}

static pn_status write_text(hid_t file, const char *path, const char *name, const char *text) {
  hid_t type = pn_shard_text_type(strlen(text) + 1, H5T_STR_NULLTERM);
  pn_status st;

  if (type < 0) return hdf5_failed(path, name);
  st = write_attribute(file, path, name, type, text);
  H5Tclose(type);
  return st;
}

/* Borrows the writer's arrays. */
static pn_shard_columns columns_of(const pn_shard_writer *w) {
  return (pn_shard_columns){.images = w->n,
                            .n_boxes = w->n_boxes,
                            .label = w->label,
                            .crc = w->crc,
                            .sha = w->sha,
                            .box_start = w->box_start,
                            .box = w->box,
                            .id = w->id,
                            .meta = w->meta};
}

static pn_status write_column_sums(const pn_shard_writer *w, hid_t file, const char *path) {
  pn_shard_columns columns = columns_of(w);
  uint32_t crc[PN_SHARD_COLUMNS];
  hsize_t n = PN_SHARD_COLUMNS;
  hid_t type = H5Tarray_create2(H5T_NATIVE_UINT32, 1, &n);
  pn_status st;

  if (type < 0) return hdf5_failed(path, PN_SHARD_SUMS);
  pn_shard_columns_sums(&columns, crc);
  st = write_attribute(file, path, PN_SHARD_SUMS, type, crc);
  H5Tclose(type);
  return st;
}

static pn_status write_attributes(const pn_shard_writer *w, hid_t file, const char *path,
                                  int number) {
  int32_t version = PN_SHARD_VERSION, n = number;
  pn_status st;

  PN_TRY(write_text(file, path, "format", PN_SHARD_FORMAT));
  PN_TRY(write_attribute(file, path, "version", H5T_NATIVE_INT32, &version));
  PN_TRY(write_attribute(file, path, "number", H5T_NATIVE_INT32, &n));
  PN_TRY(write_text(file, path, "classes", w->classes));
  PN_TRY(write_text(file, path, "decoder", w->decoder));
  PN_TRY(write_text(file, path, "plan", w->plan));
  PN_TRY(write_column_sums(w, file, path));
done:
  return st;
}

static pn_status write_images(const pn_shard_writer *w, hid_t file, const char *path) {
  struct dataset d = {.name = "images", .data = w->pixels};

  d.type = w->bits == 8 ? H5T_NATIVE_UINT8 : H5T_NATIVE_UINT16;
  d.dims[d.rank++] = (hsize_t)w->n;
  if (w->channels > 1) d.dims[d.rank++] = (hsize_t)w->channels;
  d.dims[d.rank++] = (hsize_t)w->height;
  d.dims[d.rank++] = (hsize_t)w->width;
  return write_dataset(file, path, &d);
}

static pn_status write_datasets(const pn_shard_writer *w, hid_t file, const char *path) {
  hsize_t n = (hsize_t)w->n;
  hid_t id = pn_shard_text_type(ID_CHARS, H5T_STR_NULLPAD), meta = pn_shard_meta_type();
  struct dataset sets[] = {
      {"label", H5T_NATIVE_UINT8, 1, {n}, w->label},
      {"crc32c", H5T_NATIVE_UINT32, 1, {n}, w->crc},
      {"sha256", H5T_NATIVE_UINT8, 2, {n, SHA_BYTES}, w->sha},
      {"box_start", H5T_NATIVE_UINT32, 1, {n + 1}, w->box_start},
      {"boxes", H5T_NATIVE_FLOAT, 2, {(hsize_t)w->n_boxes, 5}, w->box},
      {"id", id, 1, {n}, w->id},
      {"meta", meta, 1, {n}, w->meta},
  };
  pn_status st = PN_OK;

  if (id < 0 || meta < 0) PN_TRY(hdf5_failed(path, "types"));
  PN_TRY(write_images(w, file, path));
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
    PN_TRY(write_dataset(file, path, &sets[i]));
done:
  if (id >= 0) H5Tclose(id);
  if (meta >= 0) H5Tclose(meta);
  return st;
}

/* V110: a file left open by a dead writer says so when it is read (specs/ingest.md 3.3). */
static pn_status create_file(const char *path, hid_t *file) {
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = H5Pcreate(H5P_FILE_CREATE);
  pn_status st = PN_OK;

  if (access >= 0 && create >= 0 && H5Pset_obj_track_times(create, false) >= 0 &&
      H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) >= 0 &&
      H5Pset_alignment(access, ALIGN_BYTES, ALIGN_BYTES) >= 0)
    *file = H5Fcreate(path, H5F_ACC_TRUNC, create, access);
  if (*file < 0) st = hdf5_failed(path, "cannot create the file"); /* before the next call */
  if (access >= 0) H5Pclose(access);
  if (create >= 0) H5Pclose(create);
  return st;
}

static pn_status write_file(const pn_shard_writer *w, const char *path, int number) {
  hid_t file = -1;
  pn_status st = PN_OK;

  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* its stack goes into our message instead */
  if ((st = create_file(path, &file)) != PN_OK) return st;
  PN_TRY(write_attributes(w, file, path, number));
  PN_TRY(write_datasets(w, file, path));
  if (H5Fflush(file, H5F_SCOPE_LOCAL) < 0) PN_TRY(hdf5_failed(path, "flush"));
done:
  if (H5Fclose(file) < 0 && st == PN_OK) st = hdf5_failed(path, "close");
  return st;
}

static pn_status summarize(const pn_shard_writer *w, const char *path, pn_shard_summary *out) {
  pn_shard_columns columns = columns_of(w);
  struct stat info;
  pn_status st = pn_shard_columns_digest(&columns, out->sha256);

  if (st != PN_OK) return st;
  if (stat(path, &info) != 0) return PN_FAIL(PN_ERR_IO, "%s: %s", path, strerror(errno));
  out->images = w->n;
  out->bytes = info.st_size;
  return PN_OK;
}

/* Let the kernel start to write; pn_file_sync will find little left to wait for. */
static pn_status hand_to_disk(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
  sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a hint: file systems may not know it */
  close(fd);
  return PN_OK;
}

pn_status pn_shard_writer_publish(pn_shard_writer *w, const char *dir, int number,
                                  pn_shard_summary *out) {
  char tmp[PATH_MAX], path[PATH_MAX], tmp_name[512], host[128] = "";
  pn_status st = PN_OK;

  *out = (pn_shard_summary){0};
  tmp[0] = 0;
  if (w->n == 0) return PN_FAIL(PN_ERR_ARG, "shard %d: no images", number);
  if (gethostname(host, sizeof host - 1) != 0) host[0] = 0;
  snprintf(out->file, sizeof out->file, "shard-%05d.h5", number);
  snprintf(tmp_name, sizeof tmp_name, ".%s.tmp.%s.%ld", out->file, host, (long)getpid());
  PN_TRY(pn_path_join(path, sizeof path, dir, out->file));
  PN_TRY(pn_path_join(tmp, sizeof tmp, dir, tmp_name));
  PN_TRY(write_file(w, tmp, number));
  PN_TRY(hand_to_disk(tmp));
  if (rename(tmp, path) != 0)
    PN_TRY(PN_FAIL(PN_ERR_IO, "cannot rename %s to %s: %s", tmp, path, strerror(errno)));
  PN_TRY(summarize(w, path, out));
  w->n = w->n_boxes = 0;
done:
  if (st != PN_OK && tmp[0]) unlink(tmp);
  return st;
}
