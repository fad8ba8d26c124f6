/* checkpoint.c -- writes the parts of a checkpoint in HDF5. */
#include "base/digest.h"
#include "base/fault.h"
#include "base/file.h"
#include "train/checkpoint_file.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRC_NAME "crc32c"

typedef struct {
  const char *path;
  const pn_graph *graph;
  hid_t file; /* -1 until the first tensor */
  int64_t n;
} part_writer;

static hsize_t dims_of(pn_shape s, hsize_t dim[PN_MAX_DIMS]) {
  hsize_t n = 1;
  for (int i = 0; i < s.n_dims; i++) n *= dim[i] = (hsize_t)s.dim[i];
  return n;
}

static pn_status write_crc(hid_t set, uint32_t crc) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attr = H5Acreate2(set, CRC_NAME, H5T_STD_U32LE, space, H5P_DEFAULT, H5P_DEFAULT);
  herr_t rc = attr < 0 ? -1 : H5Awrite(attr, H5T_NATIVE_UINT32, &crc);

  if (attr >= 0 && H5Aclose(attr) < 0) rc = -1;
  if (space >= 0) H5Sclose(space);
  return rc < 0 ? PN_FAIL(PN_ERR_IO, "checkpoint: cannot write an attribute") : PN_OK;
}

/* name: "param/conv1.weight". */
static pn_status write_tensor(part_writer *w, const char *name, pn_shape shape,
                              const float *logical) {
  hsize_t dim[PN_MAX_DIMS], n = dims_of(shape, dim);
  hid_t space = H5Screate_simple(shape.n_dims, dim, NULL), links = H5Pcreate(H5P_LINK_CREATE);
  hid_t set = -1;
  pn_status st = PN_OK;

  H5Pset_create_intermediate_group(links, 1);
  set = H5Dcreate2(w->file, name, H5T_IEEE_F32LE, space, links, H5P_DEFAULT, H5P_DEFAULT);
  if (set < 0 || H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, logical) < 0) {
    st = PN_FAIL(PN_ERR_IO, "%s: cannot write %s (disk full?)", w->path, name);
    goto done;
  }
  PN_TRY(write_crc(set, pn_crc32c(0, logical, (size_t)n * sizeof *logical)));
done:
  if (set >= 0 && H5Dclose(set) < 0 && st == PN_OK)
    st = PN_FAIL(PN_ERR_IO, "%s: cannot finish %s", w->path, name);
  if (space >= 0) H5Sclose(space);
  if (links >= 0) H5Pclose(links);
  return st;
}

static pn_status open_part(part_writer *w) {
  if (w->file >= 0) return PN_OK;
  w->file = H5Fcreate(w->path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  return w->file < 0 ? PN_FAIL(PN_ERR_IO, "cannot create %s", w->path) : PN_OK;
}

/* What is saved must be worth going on from. */
static pn_status check_finite(const part_writer *w, const char *tensor, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(x[i]))
      return PN_FAIL(PN_ERR_NUMERIC,
                     "%s is not written: %s has %g at %lld; the checkpoint before it stays; a "
                     "smaller optim.lr may help",
                     w->path, tensor, (double)x[i], (long long)i);
  return PN_OK;
}

/* Visitor: one whole tensor, from its storage layout to logical order, into the file. */
static pn_status save_range(void *ctx, const pn_owned *range) {
  part_writer *w = ctx;
  const char *name = pn_graph_param(w->graph, range->param)->name;
  pn_shape shape = pn_graph_param(w->graph, range->param)->shape; /* the layout's may be finer */
  char path[2 * PN_NAME_BYTES];
  int64_t stored = 0;
  float *logical = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_layout_count(range->layout, &stored));
  if (range->first != 0 || range->count != stored) {
    st = PN_FAIL(PN_ERR_UNSUPPORTED, "checkpoint: a rank owns a part of %s only", name);
    goto done;
  }
  if (!(logical = malloc((size_t)pn_shape_count(shape) * sizeof *logical))) {
    st = PN_FAIL(PN_ERR_NOMEM, "checkpoint of %s: out of memory", name);
    goto done;
  }
  PN_TRY(pn_layout_unpack(range->layout, range->data, logical));
  snprintf(path, sizeof path, "%s/%s", range->what, name);
  PN_TRY(pn_fault_at(PN_FAULT_CHECKPOINT, logical));
  PN_TRY(check_finite(w, path, logical, pn_shape_count(shape)));
  PN_TRY(open_part(w));
  PN_TRY(write_tensor(w, path, shape, logical));
  w->n++;
done:
  free(logical);
  return st;
}

pn_status pn_part_write(const char *path, const pn_graph *g, pn_strategy *s, int64_t *n) {
  char tmp[4096];
  part_writer w = {.path = tmp, .graph = g, .file = -1};
  pn_status st = PN_OK;

  *n = 0;
  if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
    return PN_FAIL(PN_ERR_ARG, "path too long: %s", path);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our messages say it */
  PN_TRY(s->ops->visit_owned(s, save_range, &w));
done:
  if (w.file >= 0 && H5Fclose(w.file) < 0 && st == PN_OK)
    st = PN_FAIL(PN_ERR_IO, "cannot finish %s (disk full?)", tmp);
  if (st == PN_OK && w.n > 0) st = pn_file_publish(tmp, path);
  if (st != PN_OK) unlink(tmp);
  if (st == PN_OK) *n = w.n;
  return st;
}
