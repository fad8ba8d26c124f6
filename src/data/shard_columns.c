/* shard_columns.c -- read the columns of a shard; checksums over them. */
#include "data/shard_columns.h"

#include "base/digest.h"
#include "data/shard_hdf5.h"

#include <stdlib.h>
#include <string.h>

enum { SHA_BYTES = 32, ID_CHARS = PN_SHARD_ID_BYTES - 1, BOX_VALUES = 5, MAX_TEXT = 65536 };
enum { LABEL, CRC, SHA, BOX_START, BOXES, ID, META };
static const char *const names[PN_SHARD_COLUMNS] = {"label", "crc32c", "sha256", "box_start",
                                                    "boxes", "id",     "meta"};

const char *pn_shard_column_name(int i) {
  return i >= 0 && i < PN_SHARD_COLUMNS ? names[i] : "?";
}

struct view {
  const void *data;
  size_t bytes;
};

static void views_of(const pn_shard_columns *c, struct view v[PN_SHARD_COLUMNS]) {
  size_t n = (size_t)c->images;

  v[LABEL] = (struct view){c->label, n};
  v[CRC] = (struct view){c->crc, n * sizeof *c->crc};
  v[SHA] = (struct view){c->sha, n * SHA_BYTES};
  v[BOX_START] = (struct view){c->box_start, (n + 1) * sizeof *c->box_start};
  v[BOXES] = (struct view){c->box, (size_t)c->n_boxes * sizeof *c->box};
  v[ID] = (struct view){c->id, n * ID_CHARS};
  v[META] = (struct view){c->meta, n * sizeof *c->meta};
}

void pn_shard_columns_sums(const pn_shard_columns *c, uint32_t crc[PN_SHARD_COLUMNS]) {
  struct view v[PN_SHARD_COLUMNS];

  views_of(c, v);
  for (int i = 0; i < PN_SHARD_COLUMNS; i++)
    crc[i] = v[i].bytes > 0 ? pn_crc32c(0, v[i].data, v[i].bytes) : 0;
}

pn_status pn_shard_columns_digest(const pn_shard_columns *c, char hex[65]) {
  static const int order[] = {SHA, LABEL, BOX_START, BOXES, ID, META};
  struct view v[PN_SHARD_COLUMNS];
  pn_sha256 *sha = NULL;
  pn_status st = pn_sha256_create(&sha);

  if (st != PN_OK) return st;
  views_of(c, v);
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (v[order[i]].bytes > 0) pn_sha256_update(sha, v[order[i]].data, v[order[i]].bytes);
  pn_sha256_hex(sha, hex);
  pn_sha256_destroy(sha);
  return PN_OK;
}

/* The first dimension of a dataset with `width` values in a row (0: one dimension); < 0: none. */
static int64_t rows_of(hid_t set, hsize_t width) {
  hid_t space = H5Dget_space(set);
  hsize_t dims[2] = {0, 0};
  int n = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);

  if (n == (width ? 2 : 1)) H5Sget_simple_extent_dims(space, dims, NULL);
  if (space >= 0) H5Sclose(space);
  return n == (width ? 2 : 1) && dims[1] == width && dims[0] < INT32_MAX ? (int64_t)dims[0] : -1;
}

struct column {
  int which;
  hid_t type;
  hsize_t width; /* values in a row of a two-dimensional column, else 0 */
  int64_t rows;  /* expected; -1 = any, then set */
  size_t row_bytes;
};

static pn_status read_column(hid_t file, const char *path, struct column *c, void **out) {
  const char *name = names[c->which];
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
  int64_t rows;
  pn_status st = PN_OK;

  if (set < 0) return PN_FAIL(PN_ERR_FORMAT, "%s: dataset /%s is missing", path, name);
  rows = rows_of(set, c->width);
  if (rows < 0 || (c->rows >= 0 && rows != c->rows))
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: /%s has not the shape it should have", path, name));
  c->rows = rows;
  if (!(*out = calloc((size_t)rows + 1, c->row_bytes)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  if (rows > 0 && H5Dread(set, c->type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) < 0)
    st = PN_FAIL(PN_ERR_IO, "%s: cannot read /%s", path, name);
done:
  H5Dclose(set);
  return st;
}

static pn_status read_columns(hid_t file, const char *path, pn_shard_columns *c) {
  hid_t id = pn_shard_text_type(ID_CHARS, H5T_STR_NULLPAD), meta = pn_shard_meta_type();
  struct column label = {LABEL, H5T_NATIVE_UINT8, 0, -1, 1};
  struct column boxes = {BOXES, H5T_NATIVE_FLOAT, BOX_VALUES, -1, sizeof *c->box};
  pn_status st = id < 0 || meta < 0 ? PN_FAIL(PN_ERR_NOMEM, "%s: HDF5 types", path) : PN_OK;

  if (st == PN_OK) st = read_column(file, path, &label, (void **)&c->label);
  if (st == PN_OK) st = read_column(file, path, &boxes, (void **)&c->box);
  if (st == PN_OK) {
    int64_t n = c->images = label.rows;
    struct column rest[] = {{CRC, H5T_NATIVE_UINT32, 0, n, sizeof *c->crc},
                            {SHA, H5T_NATIVE_UINT8, SHA_BYTES, n, SHA_BYTES},
                            {BOX_START, H5T_NATIVE_UINT32, 0, n + 1, sizeof *c->box_start},
                            {ID, id, 0, n, ID_CHARS},
                            {META, meta, 0, n, sizeof *c->meta}};
    void **to[] = {(void **)&c->crc, (void **)&c->sha, (void **)&c->box_start, (void **)&c->id,
                   (void **)&c->meta};
    c->n_boxes = boxes.rows;
    for (int i = 0; i < 5 && st == PN_OK; i++) st = read_column(file, path, &rest[i], to[i]);
  }
  if (id >= 0) H5Tclose(id);
  if (meta >= 0) H5Tclose(meta);
  return st;
}

static pn_status read_value(hid_t file, const char *path, const char *name, hid_t type, void *out) {
  hid_t attr = H5Aopen(file, name, H5P_DEFAULT);
  herr_t rc = attr < 0 ? -1 : H5Aread(attr, type, out);

  if (attr >= 0) H5Aclose(attr);
  return rc < 0 ? PN_FAIL(PN_ERR_FORMAT, "%s: attribute %s is missing", path, name) : PN_OK;
}

static pn_status read_text(hid_t file, const char *path, const char *name, char **out) {
  hid_t attr = H5Aopen(file, name, H5P_DEFAULT), type = attr < 0 ? -1 : H5Aget_type(attr);
  size_t bytes = type < 0 ? 0 : H5Tget_size(type);
  pn_status st = PN_OK;

  if (bytes < 1 || bytes > MAX_TEXT || H5Tget_class(type) != H5T_STRING ||
      H5Tis_variable_str(type) > 0)
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: attribute %s is missing", path, name));
  if (!(*out = calloc(bytes + 1, 1))) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  if (H5Aread(attr, type, *out) < 0)
    st = PN_FAIL(PN_ERR_IO, "%s: cannot read the attribute %s", path, name);
done:
  if (type >= 0) H5Tclose(type);
  if (attr >= 0) H5Aclose(attr);
  return st;
}

static pn_status read_attributes(hid_t file, const char *path, pn_shard_columns *c) {
  hsize_t n = PN_SHARD_COLUMNS;
  hid_t sums = H5Tarray_create2(H5T_NATIVE_UINT32, 1, &n);
  pn_status st = PN_OK;

  if (sums < 0) return PN_FAIL(PN_ERR_NOMEM, "%s: HDF5 types", path);
  PN_TRY(read_value(file, path, "number", H5T_NATIVE_INT32, &c->number));
  PN_TRY(read_value(file, path, PN_SHARD_SUMS, sums, c->sums));
  PN_TRY(read_text(file, path, "classes", &c->classes));
  PN_TRY(read_text(file, path, "decoder", &c->decoder));
  PN_TRY(read_text(file, path, "plan", &c->plan));
done:
  H5Tclose(sums);
  return st;
}

pn_status pn_shard_columns_read(const char *path, pn_shard_columns *out) {
  pn_shard_columns c = {0};
  hid_t file;
  pn_status st;

  *out = c;
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our message says it better than HDF5's stack */
  if ((file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT)) < 0)
    return PN_FAIL(PN_ERR_IO, "%s: HDF5 cannot open it", path);
  PN_TRY(read_attributes(file, path, &c));
  PN_TRY(read_columns(file, path, &c));
  *out = c;
  c = (pn_shard_columns){0};
done:
  H5Fclose(file);
  pn_shard_columns_free(&c);
  return st;
}

void pn_shard_columns_free(pn_shard_columns *c) {
  free(c->label);
  free(c->crc);
  free(c->sha);
  free(c->box_start);
  free(c->box);
  free(c->id);
  free(c->meta);
  free(c->classes);
  free(c->decoder);
  free(c->plan);
  *c = (pn_shard_columns){0};
}
