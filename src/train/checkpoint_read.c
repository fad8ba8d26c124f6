/* checkpoint_read.c -- reads tensors from the HDF5 parts of a checkpoint, whatever their number. */
#include "base/digest.h"
#include "base/file.h"
#include "train/checkpoint.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const pn_graph *graph; /* borrowed */
  const char *folder;    /* borrowed */
  size_t n;
  hid_t *file;       /* [n], owned */
  const char **name; /* [n], owned array of names in the manifest */
} parts;

static void parts_close(parts *p) {
  for (size_t i = 0; p->file && i < p->n; i++)
    if (p->file[i] >= 0) H5Fclose(p->file[i]);
  free(p->file);
  free(p->name);
}

static pn_status open_part(parts *p, size_t i, json_t *part) {
  char path[PN_RUN_PATH_BYTES];
  pn_status st = PN_OK;

  p->name[i] = json_string_value(json_object_get(part, "file"));
  if (!p->name[i] || strchr(p->name[i], '/'))
    return PN_FAIL(PN_ERR_FORMAT, "%s: part %zu has no plain file name", p->folder, i);
  PN_TRY(pn_path_join(path, sizeof path, p->folder, p->name[i]));
  if ((p->file[i] = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT)) < 0)
    st = pn_checkpoint_damaged(p->folder, path,
                               pn_file_exists(path) ? "HDF5 cannot open it: damaged or cut short"
                                                    : "missing");
done:
  return st;
}

static pn_status parts_open(const pn_saved_run *s, const pn_graph *g, parts *p) {
  json_t *list = json_object_get(s->manifest, "parts"), *part;
  size_t i, n = json_array_size(list);
  pn_status st = PN_OK;

  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our messages say it */
  *p = (parts){.graph = g, .folder = s->folder};
  p->file = malloc((n + 1) * sizeof *p->file);
  p->name = calloc(n + 1, sizeof *p->name);
  if (!p->file || !p->name) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", s->folder));
  for (i = 0; i < n; i++) p->file[i] = -1;
  p->n = n;
  json_array_foreach(list, i, part) PN_TRY(open_part(p, i, part));
done:
  return st;
}

static bool read_crc(hid_t set, uint32_t *crc) {
  hid_t attr = H5Aopen(set, "crc32c", H5P_DEFAULT);
  bool good = attr >= 0 && H5Aread(attr, H5T_NATIVE_UINT32, crc) >= 0;
  if (attr >= 0) H5Aclose(attr);
  return good;
}

static bool shape_is(hid_t set, pn_shape want) {
  hsize_t dim[H5S_MAX_RANK];
  hid_t space = H5Dget_space(set);
  int n = space < 0 ? -1 : H5Sget_simple_extent_dims(space, dim, NULL);
  bool same = n == want.n_dims;

  if (space >= 0) H5Sclose(space);
  for (int i = 0; same && i < n; i++) same = dim[i] == (hsize_t)want.dim[i];
  return same;
}

/* set: open dataset of the parameter; logical: room for its shape. */
static pn_status read_logical(hid_t set, const char *path, const pn_param *p, float *logical) {
  char text[64];

  pn_shape_text(p->shape, text, sizeof text);
  if (!shape_is(set, p->shape))
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s is not %s as in the model", path, p->name, text);
  if (H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, logical) < 0)
    return PN_FAIL(PN_ERR_IO, "%s: cannot read %s", path, p->name);
  return PN_OK;
}

static bool is_whole(hid_t set, const pn_param *p, const float *logical) {
  size_t bytes = (size_t)pn_shape_count(p->shape) * sizeof *logical;
  uint32_t crc = 0;
  return read_crc(set, &crc) && crc == pn_crc32c(0, logical, bytes);
}

/* Each level of the path is looked up: H5Lexists wants that. */
static pn_status find(const parts *p, const char *what, const char *path, size_t *out) {
  for (*out = 0; *out < p->n; ++*out) {
    htri_t there = H5Lexists(p->file[*out], what, H5P_DEFAULT);
    if (there > 0) there = H5Lexists(p->file[*out], path, H5P_DEFAULT);
    if (there > 0) return PN_OK;
    if (there < 0)
      return pn_checkpoint_damaged(p->folder, p->name[*out], "damaged: HDF5 cannot read its list");
  }
  return PN_FAIL(PN_ERR_FORMAT, "%s has no %s: it is of another model or optimizer", p->folder,
                 path);
}

/* Into the range's layout: the whole tensor, or the part of it that the rank holds. */
static pn_status store(const pn_owned *range, const float *logical) {
  int64_t n = 0;
  float *stored = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_layout_count(range->layout, &n));
  if (range->count == n) return pn_layout_pack(range->layout, logical, range->data);
  if (!(stored = malloc((size_t)n * sizeof *stored)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "a tensor of %lld elements: out of memory", (long long)n));
  PN_TRY(pn_layout_pack(range->layout, logical, stored));
  memcpy(range->data, stored + range->first, (size_t)range->count * sizeof *stored);
done:
  free(stored);
  return st;
}

/* A whole tensor by its name. */
static pn_status read_named(const parts *p, const char *what, const pn_param *param,
                            float *logical) {
  char path[2 * PN_NAME_BYTES], file[PN_RUN_PATH_BYTES], what_is_wrong[3 * PN_NAME_BYTES];
  hid_t set = -1;
  size_t i;
  pn_status st = PN_OK;

  snprintf(path, sizeof path, "%s/%s", what, param->name);
  PN_TRY(find(p, what, path, &i));
  PN_TRY(pn_path_join(file, sizeof file, p->folder, p->name[i]));
  if ((set = H5Dopen2(p->file[i], path, H5P_DEFAULT)) < 0)
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: cannot open %s", file, path));
  PN_TRY(read_logical(set, file, param, logical));
  if (!is_whole(set, param, logical)) {
    snprintf(what_is_wrong, sizeof what_is_wrong, "%s is damaged (CRC32C differs)", path);
    st = pn_checkpoint_damaged(p->folder, file, what_is_wrong);
  }
done:
  if (set >= 0) H5Dclose(set);
  return st;
}

/* A visitor: fills one tensor, or a part. */
static pn_status fill(void *ctx, const pn_owned *range) {
  const parts *p = ctx;
  const pn_param *param = pn_graph_param(p->graph, range->param);
  float *logical = malloc((size_t)pn_shape_count(param->shape) * sizeof *logical);
  pn_status st = PN_OK;

  if (!logical) return PN_FAIL(PN_ERR_NOMEM, "%s: %s: out of memory", p->folder, param->name);
  PN_TRY(read_named(p, range->what, param, logical));
  PN_TRY(store(range, logical));
done:
  free(logical);
  return st;
}

/* The averaged weights, where the run kept them, are what it was validated with. */
static const char *best_kind(const pn_saved_run *s) {
  json_t *tensor = json_array_get(json_object_get(s->manifest, "tensors"), 0), *kind;
  size_t i;

  json_array_foreach(json_object_get(tensor, "kinds"), i, kind) {
    const char *name = json_string_value(kind);
    if (name && strcmp(name, "ema") == 0) return "ema";
  }
  return "param";
}

pn_status pn_saved_run_load(const pn_saved_run *s, const pn_graph *g, const pn_param_map *map,
                            float *params) {
  parts p = {.n = 0};
  pn_status st = PN_OK;

  PN_TRY(parts_open(s, g, &p));
  for (int i = 0; i < map->n; i++) {
    const struct pn_slot *slot = &map->slot[i];
    pn_owned range = {.param = i,
                      .what = best_kind(s),
                      .layout = &slot->layout,
                      .data = params + slot->offset,
                      .count = slot->count};
    PN_TRY(fill(&p, &range));
  }
done:
  parts_close(&p);
  return st;
}

pn_status pn_saved_run_restore(const pn_saved_run *s, const pn_graph *g, pn_strategy *to) {
  parts p = {.n = 0};
  pn_status st = PN_OK;

  PN_TRY(parts_open(s, g, &p));
  PN_TRY(to->ops->visit_held(to, fill, &p));
done:
  parts_close(&p);
  return st;
}

const char *pn_saved_run_tensor(const pn_saved_run *s, int i, pn_shape *shape) {
  json_t *tensor = json_array_get(json_object_get(s->manifest, "tensors"), (size_t)i), *dim;
  const char *name = json_string_value(json_object_get(tensor, "name"));
  size_t k;

  *shape = (pn_shape){0};
  json_array_foreach(json_object_get(tensor, "shape"), k, dim) {
    if (k == PN_MAX_DIMS || json_integer_value(dim) < 1) return NULL;
    shape->dim[shape->n_dims++] = json_integer_value(dim);
  }
  return name && shape->n_dims > 0 && strlen(name) < PN_NAME_BYTES ? name : NULL;
}

pn_status pn_saved_run_read(const pn_saved_run *s, int i, float *logical) {
  pn_param param = {.name = ""};
  const char *name = pn_saved_run_tensor(s, i, &param.shape);
  parts p = {.n = 0};
  pn_status st = PN_OK;

  if (!name) return PN_FAIL(PN_ERR_FORMAT, "%s: bad tensor %d in the manifest", s->folder, i);
  snprintf(param.name, sizeof param.name, "%s", name);
  PN_TRY(parts_open(s, NULL, &p));
  PN_TRY(read_named(&p, best_kind(s), &param, logical));
done:
  parts_close(&p);
  return st;
}
