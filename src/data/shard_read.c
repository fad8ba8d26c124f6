/* shard_read.c -- HDF5 says where the pixels are; from then on they are read through mmap. */
#include "data/shard_read.h"

#include "data/shard.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 64, MAX_DIMS = 4 };

static pn_status read_attribute(hid_t file, const char *path, const char *name, hid_t type,
                                void *out) {
  hid_t attr = H5Aopen(file, name, H5P_DEFAULT);
  herr_t rc = attr < 0 ? -1 : H5Aread(attr, type, out);

  if (attr >= 0) H5Aclose(attr);
  if (rc < 0) return PN_FAIL(PN_ERR_FORMAT, "%s: attribute %s is missing", path, name);
  return PN_OK;
}

static pn_status check_format(hid_t file, const char *path) {
  char format[TEXT_BYTES] = "";
  int32_t version = 0;
  hid_t text = H5Tcopy(H5T_C_S1);
  pn_status st = PN_OK;

  if (text < 0 || H5Tset_size(text, sizeof format) < 0)
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: HDF5 types", path));
  PN_TRY(read_attribute(file, path, "format", text, format));
  if (strcmp(format, PN_SHARD_FORMAT) != 0)
    PN_TRY(
        PN_FAIL(PN_ERR_FORMAT, "%s: format '%.40s', expected '%s'", path, format, PN_SHARD_FORMAT));
  PN_TRY(read_attribute(file, path, "version", H5T_NATIVE_INT32, &version));
  if (version != PN_SHARD_VERSION)
    st = PN_FAIL(PN_ERR_FORMAT, "%s: shard version %d, this build reads %d; ingest again", path,
                 (int)version, PN_SHARD_VERSION);
done:
  if (text >= 0) H5Tclose(text);
  return st;
}

static int read_dims(hid_t set, hsize_t dims[MAX_DIMS]) {
  hid_t space = H5Dget_space(set);
  int n = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);

  if (n > MAX_DIMS || (n > 0 && H5Sget_simple_extent_dims(space, dims, NULL) < 0)) n = -1;
  if (space >= 0) H5Sclose(space);
  return n;
}

static pn_status set_shape(const char *path, int n, const hsize_t d[MAX_DIMS], pn_shard_map *out) {
  if (n != 3 && n != 4)
    return PN_FAIL(PN_ERR_FORMAT, "%s: /images has %d dimensions, expected 3 or 4", path, n);
  for (int k = 0; k < n; k++)
    if (d[k] < 1 || d[k] > INT32_MAX)
      return PN_FAIL(PN_ERR_FORMAT, "%s: /images: dimension %d is %llu", path, k,
                     (unsigned long long)d[k]);
  out->images = (int64_t)d[0];
  out->channels = n == 4 ? (int64_t)d[1] : 1;
  out->height = (int64_t)d[n - 2];
  out->width = (int64_t)d[n - 1];
  return PN_OK;
}

/* Shape of /images and where its bytes start. */
static pn_status locate_images(hid_t file, const char *path, pn_shard_map *out, haddr_t *offset) {
  hid_t set = H5Dopen2(file, "/images", H5P_DEFAULT), type = -1;
  hsize_t dims[MAX_DIMS] = {0};
  pn_status st = PN_OK;

  if (set < 0) return PN_FAIL(PN_ERR_FORMAT, "%s: dataset /images is missing", path);
  PN_TRY(set_shape(path, read_dims(set, dims), dims, out));
  type = H5Dget_type(set);
  if (type >= 0 && H5Tequal(type, H5T_NATIVE_UINT8) > 0) out->bits = 8;
  if (type >= 0 && H5Tequal(type, H5T_NATIVE_UINT16) > 0) out->bits = 16;
  if (out->bits == 0)
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: /images is not of 8 or 16-bit unsigned pixels", path));
  out->image_bytes = (size_t)(out->channels * out->height * out->width * (out->bits / 8));
  *offset = H5Dget_offset(set);
  if (*offset == HADDR_UNDEF || *offset % sizeof(uint16_t) != 0)
    st = PN_FAIL(PN_ERR_FORMAT, "%s: /images is not contiguous: it cannot be mapped", path);
done:
  if (type >= 0) H5Tclose(type);
  H5Dclose(set);
  return st;
}

static pn_status read_column(hid_t file, const char *path, const char *name, hid_t type, int64_t n,
                             void *out) {
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
  hsize_t dims[MAX_DIMS] = {0};
  pn_status st = PN_OK;

  if (set < 0) return PN_FAIL(PN_ERR_FORMAT, "%s: dataset %s is missing", path, name);
  if (read_dims(set, dims) != 1 || dims[0] != (hsize_t)n)
    st = PN_FAIL(PN_ERR_FORMAT, "%s: %s has not one value for each of %lld images", path, name,
                 (long long)n);
  else if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) < 0)
    st = PN_FAIL(PN_ERR_IO, "%s: cannot read %s", path, name);
  H5Dclose(set);
  return st;
}

static pn_status map_pixels(const char *path, haddr_t offset, pn_shard_map *out) {
  size_t need = (size_t)out->images * out->image_bytes;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat info;
  pn_status st = PN_OK;
  void *map;

  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
  if (fstat(fd, &info) != 0 || (uint64_t)info.st_size < offset ||
      (uint64_t)info.st_size - offset < need) {
    st = PN_FAIL(PN_ERR_FORMAT, "%s is cut short: ingest again", path);
    goto done;
  }
  map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) {
    st = PN_FAIL(PN_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    goto done;
  }
  out->map = map;
  out->map_bytes = (size_t)info.st_size;
  out->pixels = (const uint8_t *)map + offset;
done:
  close(fd);
  return st;
}

static hid_t open_file(const char *path) {
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* our message says it better than HDF5's stack */
  return H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
}

static pn_status open_failed(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot open shard %s: %s", path, strerror(errno));
  close(fd);
  return PN_FAIL(PN_ERR_FORMAT,
                 "shard %s: HDF5 cannot open it: damaged (ingest again), or on a file system "
                 "without locks (try HDF5_USE_FILE_LOCKING=FALSE)",
                 path);
}

pn_status pn_shard_open_map(const char *path, pn_shard_map *out) {
  pn_shard_map m = {0};
  haddr_t offset = 0;
  pn_status st = PN_OK;
  hid_t file = open_file(path);

  *out = m;
  if (file < 0) return open_failed(path);
  PN_TRY(check_format(file, path));
  PN_TRY(locate_images(file, path, &m, &offset));
  m.label = malloc((size_t)m.images);
  m.crc = malloc((size_t)m.images * sizeof *m.crc);
  if (!m.label || !m.crc) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  PN_TRY(read_column(file, path, "/label", H5T_NATIVE_UINT8, m.images, m.label));
  PN_TRY(read_column(file, path, "/crc32c", H5T_NATIVE_UINT32, m.images, m.crc));
  PN_TRY(map_pixels(path, offset, &m));
  *out = m;
  m = (pn_shard_map){0};
done:
  H5Fclose(file);
  pn_shard_unmap(&m);
  return st;
}

void pn_shard_unmap(pn_shard_map *m) {
  if (m->map) munmap(m->map, m->map_bytes);
  free(m->label);
  free(m->crc);
  *m = (pn_shard_map){0};
}
