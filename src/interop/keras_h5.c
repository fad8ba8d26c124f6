/* keras_h5.c -- reader of Keras' HDF5 weights (`*.h5`, whole models too; specs/formats.md 2):
 * attribute layer_names lists the groups, attribute weight_names of a group its datasets. */
#include "interop/tensor_file_internal.h"

#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES = PN_TENSOR_NAME_BYTES, MAX_RANK = 8 };

typedef struct {
  char **text; /* [n], owned */
  int n;
} names;

typedef struct {
  hid_t file, root; /* root: the group that has layer_names */
  names dataset;    /* [f->n]: "layer/weight name", below root */
} keras_file;

static bool detect(const char *path, const unsigned char *head, size_t bytes) {
  (void)path;
  return bytes >= 8 && memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0;
}

static void names_free(names *a) {
  for (int i = 0; i < a->n; i++) free(a->text[i]);
  free(a->text);
  *a = (names){0};
}

static bool names_add(names *a, const char *text, size_t bytes) {
  char **grown = realloc(a->text, (size_t)(a->n + 1) * sizeof *grown);

  if (!grown) return false;
  a->text = grown;
  if (!(a->text[a->n] = strndup(text, bytes))) return false;
  a->n++;
  return true;
}

static bool add_variable(hid_t attr, hid_t space, size_t n, names *out) {
  hid_t type = H5Tcopy(H5T_C_S1), stored = H5Aget_type(attr);
  char **text = calloc(n, sizeof *text);
  bool good = text && type >= 0 && stored >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 &&
              H5Tset_cset(type, H5Tget_cset(stored)) >= 0 && H5Aread(attr, type, text) >= 0;

  for (size_t i = 0; good && i < n; i++) good = text[i] && names_add(out, text[i], strlen(text[i]));
  if (text && type >= 0) H5Dvlen_reclaim(type, space, H5P_DEFAULT, text);
  free(text);
  if (type >= 0) H5Tclose(type);
  if (stored >= 0) H5Tclose(stored);
  return good;
}

static bool add_fixed(hid_t attr, size_t n, names *out) {
  hid_t type = H5Aget_type(attr); /* as stored: NUL or space padded, not always terminated */
  size_t size = type >= 0 ? H5Tget_size(type) : 0;
  char *text = size ? calloc(n, size) : NULL;
  bool good = text && H5Aread(attr, type, text) >= 0;

  for (size_t i = 0; good && i < n; i++) {
    size_t used = strnlen(text + i * size, size);
    while (used > 0 && text[i * size + used - 1] == ' ') used--;
    good = names_add(out, text + i * size, used);
  }
  free(text);
  if (type >= 0) H5Tclose(type);
  return good;
}

/* The strings of one attribute.  An empty list is stored as 0 numbers of any type. */
static bool add_attribute(hid_t at, const char *name, names *out) {
  hid_t attr = H5Aopen(at, name, H5P_DEFAULT), type = -1, space = -1;
  hssize_t n = -1;
  bool good = false;

  if (attr < 0) return false;
  space = H5Aget_space(attr);
  type = H5Aget_type(attr);
  if (space >= 0) n = H5Sget_simple_extent_npoints(space);
  if (n == 0)
    good = true;
  else if (n > 0 && type >= 0 && H5Tget_class(type) == H5T_STRING)
    good = H5Tis_variable_str(type) > 0 ? add_variable(attr, space, (size_t)n, out)
                                        : add_fixed(attr, (size_t)n, out);
  if (type >= 0) H5Tclose(type);
  if (space >= 0) H5Sclose(space);
  H5Aclose(attr);
  return good;
}

/* `name`, or where that was too long for one attribute `name`0, `name`1, ... */
static bool read_names(hid_t at, const char *name, names *out) {
  char part[64];

  if (H5Aexists(at, name) > 0) return add_attribute(at, name, out);
  for (int i = 0;; i++) {
    snprintf(part, sizeof part, "%s%d", name, i);
    if (H5Aexists(at, part) <= 0) return i > 0;
    if (!add_attribute(at, part, out)) return false;
  }
}

static hid_t find_root(hid_t file) {
  if (H5Aexists(file, "layer_names") > 0 || H5Aexists(file, "layer_names0") > 0)
    return H5Gopen2(file, "/", H5P_DEFAULT);
  if (H5Lexists(file, "/model_weights", H5P_DEFAULT) > 0)
    return H5Gopen2(file, "/model_weights", H5P_DEFAULT);
  return -1;
}

/* "conv1_conv/kernel:0" of layer conv1_conv -> "conv1_conv.weight". */
static void plain_name(const char *layer, const char *weight, char out[NAME_BYTES]) {
  char name[NAME_BYTES];
  const char *slash = strrchr(weight, '/'), *last = slash ? slash + 1 : weight;

  snprintf(name, sizeof name, "%s.%.*s", layer, (int)strcspn(last, ":"), last);
  pn_tensor_plain_name(name, out);
}

/* H W I O -> O I H W, I O -> O I. */
static pn_shape logical_shape(const hsize_t d[MAX_RANK], int rank) {
  pn_shape s = {.n_dims = rank};

  for (int k = 0; k < rank; k++) s.dim[k] = (int64_t)d[k];
  if (rank == 2) return pn_shape2(s.dim[1], s.dim[0]);
  if (rank == 4) return pn_shape4(s.dim[3], s.dim[2], s.dim[0], s.dim[1]);
  return s;
}

static bool read_shape(hid_t root, const char *path, pn_tensor_info *t) {
  hid_t set = H5Dopen2(root, path, H5P_DEFAULT), space = set < 0 ? -1 : H5Dget_space(set);
  hsize_t d[MAX_RANK] = {0};
  int rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
  bool good = rank >= 0 && rank <= MAX_RANK && H5Sget_simple_extent_dims(space, d, NULL) >= 0;

  if (good && rank <= PN_MAX_DIMS) t->shape = logical_shape(d, rank);
  if (good && rank > PN_MAX_DIMS) t->problem = "more than 4 dimensions";
  if (space >= 0) H5Sclose(space);
  if (set >= 0) H5Dclose(set);
  return good;
}

static pn_status add_weight(pn_tensor_file *f, const char *layer, const char *weight) {
  keras_file *k = f->impl;
  char path[2 * NAME_BYTES];
  int n = snprintf(path, sizeof path, "%s/%s", layer, weight);
  pn_tensor_info *t = pn_tensor_file_add(f);

  if (!t || !names_add(&k->dataset, path, sizeof path))
    return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  if (n >= (int)sizeof path) return PN_FAIL(PN_ERR_FORMAT, "%s: a name is too long", f->path);
  plain_name(layer, weight, t->name);
  if (!read_shape(k->root, path, t))
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s is in weight_names, but no dataset", f->path, path);
  return PN_OK;
}

static pn_status add_layer(pn_tensor_file *f, const char *layer) {
  keras_file *k = f->impl;
  names weights = {0};
  hid_t group = H5Gopen2(k->root, layer, H5P_DEFAULT);
  pn_status st = PN_OK;

  if (group < 0 || !read_names(group, "weight_names", &weights))
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: layer %s has no weight_names", f->path, layer));
  for (int i = 0; i < weights.n; i++) PN_TRY(add_weight(f, layer, weights.text[i]));
done:
  if (group >= 0) H5Gclose(group);
  names_free(&weights);
  return st;
}

static pn_status open_file(pn_tensor_file *f) {
  keras_file *k = calloc(1, sizeof *k);
  names layers = {0};
  pn_status st = PN_OK;

  if (!k) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  f->impl = k;
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  k->root = -1;
  if ((k->file = H5Fopen(f->path, H5F_ACC_RDONLY, H5P_DEFAULT)) < 0)
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: HDF5 cannot open it: cut off?", f->path));
  if ((k->root = find_root(k->file)) < 0 || !read_names(k->root, "layer_names", &layers))
    PN_TRY(PN_FAIL(PN_ERR_FORMAT,
                   "%s: no layer_names: not a Keras 1/2 weight file (Keras 3: save with "
                   "legacy_h5 or save_weights of tf_keras)",
                   f->path));
  for (int i = 0; i < layers.n; i++) PN_TRY(add_layer(f, layers.text[i]));
done:
  names_free(&layers);
  return st;
}

static void close_file(pn_tensor_file *f) {
  keras_file *k = f->impl;

  if (!k) return;
  if (k->root >= 0) H5Gclose(k->root);
  if (k->file >= 0) H5Fclose(k->file);
  names_free(&k->dataset);
  free(k);
  f->impl = NULL;
}

/* s: the logical shape. */
static void to_logical(const float *in, pn_shape s, float *out) {
  bool conv = s.n_dims == 4;
  int64_t o = s.dim[0], i = s.dim[1], pixels = conv ? s.dim[2] * s.dim[3] : 1;

  for (int64_t a = 0; a < o; a++)
    for (int64_t b = 0; b < i; b++)
      for (int64_t p = 0; p < pixels; p++) out[(a * i + b) * pixels + p] = in[(p * i + b) * o + a];
}

static pn_status read_tensor(pn_tensor_file *f, int i, float *out) {
  keras_file *k = f->impl;
  pn_shape s = f->info[i].shape;
  bool turned = s.n_dims == 2 || s.n_dims == 4;
  float *stored = turned ? malloc((size_t)pn_shape_count(s) * sizeof *stored) : out;
  hid_t set = H5Dopen2(k->root, k->dataset.text[i], H5P_DEFAULT);
  pn_status st = PN_OK;

  if (!stored) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: %s: out of memory", f->path, k->dataset.text[i]));
  if (set < 0 || H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored) < 0)
    PN_TRY(PN_FAIL(PN_ERR_IO, "%s: %s cannot be read as numbers", f->path, k->dataset.text[i]));
  if (turned) to_logical(stored, s, out);
done:
  if (set >= 0) H5Dclose(set);
  if (turned) free(stored);
  return st;
}

const pn_tensor_format pn_keras_h5_format = {
    .name = "Keras HDF5",
    .keras = true,
    .detect = detect,
    .open = open_file,
    .read = read_tensor,
    .close = close_file,
};
