/* safetensors.c -- reader of the safetensors format: length, JSON header, packed little-endian
 * tensors.  Every rule of specs/formats.md 1 that a reader should check is checked. */
#include "interop/tensor_file_internal.h"

#include "base/bf16.h"
#include "base/fp16.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 100000000, LENGTH_BYTES = 8 };

/* Element i of a tensor as a float. */
typedef float (*element_fn)(const unsigned char *data, size_t i);

#define ELEMENT(name, type)                                                                        \
  static float element_##name(const unsigned char *data, size_t i) {                               \
    type x;                                                                                        \
    memcpy(&x, data + i * sizeof x, sizeof x);                                                     \
    return (float)x;                                                                               \
  }
ELEMENT(u8, uint8_t)
ELEMENT(i8, int8_t)
ELEMENT(u16, uint16_t)
ELEMENT(i16, int16_t)
ELEMENT(u32, uint32_t)
ELEMENT(i32, int32_t)
ELEMENT(u64, uint64_t)
ELEMENT(i64, int64_t)
ELEMENT(f32, float)
ELEMENT(f64, double)

static float element_bf16(const unsigned char *data, size_t i) {
  pn_bf16 h;
  memcpy(&h, data + 2 * i, sizeof h);
  return pn_bf16_to_f32(h);
}

static float element_f16(const unsigned char *data, size_t i) {
  pn_fp16 h;
  memcpy(&h, data + 2 * i, sizeof h);
  return pn_fp16_to_f32(h);
}

static const struct dtype {
  const char *name;
  size_t bytes;
  element_fn element; /* NULL: read by no one yet */
} dtypes[] = {{"F32", 4, element_f32}, {"F16", 2, element_f16}, {"BF16", 2, element_bf16},
              {"F64", 8, element_f64}, {"I64", 8, element_i64}, {"U64", 8, element_u64},
              {"I32", 4, element_i32}, {"U32", 4, element_u32}, {"I16", 2, element_i16},
              {"U16", 2, element_u16}, {"I8", 1, element_i8},   {"U8", 1, element_u8},
              {"BOOL", 1, element_u8}, {"F8_E4M3", 1, NULL},    {"F8_E5M2", 1, NULL}};

typedef struct {
  const struct dtype *type;
  size_t begin, end; /* in the data */
} span;

typedef struct {
  unsigned char *map;
  size_t bytes;
  const unsigned char *data;
  size_t data_bytes;
  span *span; /* [f->n], owned */
} safetensors;

static bool detect(const char *path, const unsigned char *head, size_t bytes) {
  uint64_t n;
  (void)path;

  if (bytes <= LENGTH_BYTES || head[LENGTH_BYTES] != '{') return false;
  memcpy(&n, head, sizeof n);
  return n >= 2 && n <= MAX_HEADER;
}

static pn_status map_file(pn_tensor_file *f, safetensors *s) {
  struct stat info;
  int fd = open(f->path, O_RDONLY | O_CLOEXEC);
  void *map = MAP_FAILED;

  if (fd >= 0 && fstat(fd, &info) == 0)
    map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) {
    pn_status st = PN_FAIL(PN_ERR_IO, "%s: %s", f->path, strerror(errno));
    if (fd >= 0) close(fd);
    return st;
  }
  close(fd);
  s->map = map;
  s->bytes = (size_t)info.st_size;
  return PN_OK;
}

static const struct dtype *find_dtype(const char *name) {
  for (size_t i = 0; name && i < sizeof dtypes / sizeof *dtypes; i++)
    if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
  return NULL;
}

/* A dimension of the header: false for anything but a count. */
static bool get_count(const json_t *j, int64_t *out) {
  if (!json_is_integer(j) || json_integer_value(j) < 0) return false;
  *out = json_integer_value(j);
  return true;
}

static bool get_shape(const json_t *j, pn_tensor_info *t, size_t *elements) {
  size_t n = json_array_size(j);
  int64_t d;

  if (!json_is_array(j)) return false;
  *elements = 1;
  t->shape.n_dims = n > PN_MAX_DIMS ? PN_MAX_DIMS : (int)n;
  if (n > PN_MAX_DIMS) t->problem = "more than 4 dimensions";
  for (size_t k = 0; k < n; k++) {
    if (!get_count(json_array_get(j, k), &d)) return false;
    if (__builtin_mul_overflow(*elements, (size_t)d, elements)) return false;
    if (k < PN_MAX_DIMS) t->shape.dim[k] = d;
  }
  return true;
}

static pn_status add_tensor(pn_tensor_file *f, safetensors *s, const char *name, const json_t *j) {
  const json_t *at = json_object_get(j, "data_offsets");
  const char *type = json_string_value(json_object_get(j, "dtype"));
  int64_t begin, end;
  size_t elements;
  pn_tensor_info *t = pn_tensor_file_add(f);
  span *v = realloc(s->span, (size_t)f->n * sizeof *v);

  if (v) s->span = v;
  if (!t || !v) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  v += f->n - 1;
  if (snprintf(t->name, sizeof t->name, "%s", name) >= (int)sizeof t->name)
    t->problem = "its name is too long";
  v->type = find_dtype(type);
  if (!v->type)
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s: unknown dtype '%s'", f->path, name, type ? type : "");
  if (!v->type->element) t->problem = "its 8-bit float type is not read";
  if (!get_shape(json_object_get(j, "shape"), t, &elements))
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s: bad shape", f->path, name);
  if (json_array_size(at) != 2 || !get_count(json_array_get(at, 0), &begin) ||
      !get_count(json_array_get(at, 1), &end) || end < begin || (size_t)end > s->data_bytes)
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s: data_offsets outside the file", f->path, name);
  v->begin = (size_t)begin;
  v->end = (size_t)end;
  if ((v->end - v->begin) % v->type->bytes != 0 || (v->end - v->begin) / v->type->bytes != elements)
    return PN_FAIL(PN_ERR_FORMAT, "%s: %s: %zu bytes for %zu elements of %s", f->path, name,
                   v->end - v->begin, elements, v->type->name);
  return PN_OK;
}

static int by_begin(const void *a, const void *b) {
  const span *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return (x->end > y->end) - (x->end < y->end);
}

/* The tensors fill the data without holes or overlaps. */
static pn_status check_spans(const pn_tensor_file *f, const safetensors *s) {
  size_t n = (size_t)f->n, at = 0;
  span *sorted = malloc((n ? n : 1) * sizeof *sorted);
  pn_status st = PN_OK;

  if (!sorted) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  if (n) memcpy(sorted, s->span, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, by_begin);
  for (size_t i = 0; i < n && st == PN_OK; i++) {
    if (sorted[i].begin != at)
      st = PN_FAIL(PN_ERR_FORMAT, "%s: hole or overlap at byte %zu of the data", f->path, at);
    at = sorted[i].end;
  }
  if (st == PN_OK && at != s->data_bytes)
    st = PN_FAIL(PN_ERR_FORMAT, "%s: %zu bytes of data, the header accounts for %zu", f->path,
                 s->data_bytes, at);
  free(sorted);
  return st;
}

static pn_status read_header(pn_tensor_file *f, safetensors *s) {
  uint64_t n = 0;
  json_error_t error;
  json_t *header = NULL, *value;
  const char *name;
  pn_status st = PN_OK;

  memcpy(&n, s->map, sizeof n);
  if (n > s->bytes - LENGTH_BYTES)
    return PN_FAIL(PN_ERR_FORMAT, "%s: header of %llu bytes in a file of %zu: cut off?", f->path,
                   (unsigned long long)n, s->bytes);
  s->data = s->map + LENGTH_BYTES + n;
  s->data_bytes = s->bytes - LENGTH_BYTES - (size_t)n;
  header =
      json_loadb((const char *)s->map + LENGTH_BYTES, (size_t)n, JSON_REJECT_DUPLICATES, &error);
  if (!json_is_object(header)) {
    st = PN_FAIL(PN_ERR_FORMAT, "%s: header: %s", f->path, header ? "not an object" : error.text);
    goto done;
  }
  json_object_foreach(header, name, value) {
    if (strcmp(name, "__metadata__") != 0) PN_TRY(add_tensor(f, s, name, value));
  }
  st = check_spans(f, s);
done:
  json_decref(header);
  return st;
}

static void close_file(pn_tensor_file *f) {
  safetensors *s = f->impl;

  if (!s) return;
  if (s->map) munmap(s->map, s->bytes);
  free(s->span);
  free(s);
  f->impl = NULL;
}

static pn_status open_file(pn_tensor_file *f) {
  safetensors *s = calloc(1, sizeof *s);
  pn_status st;

  if (!s) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  f->impl = s;
  if ((st = map_file(f, s)) != PN_OK) return st;
  return read_header(f, s);
}

static pn_status read_tensor(pn_tensor_file *f, int i, float *out) {
  const safetensors *s = f->impl;
  const span *v = &s->span[i];
  size_t n = (v->end - v->begin) / v->type->bytes;

  for (size_t k = 0; k < n; k++) out[k] = v->type->element(s->data + v->begin, k);
  return PN_OK;
}

const pn_tensor_format pn_safetensors_format = {
    .name = "safetensors",
    .detect = detect,
    .open = open_file,
    .read = read_tensor,
    .close = close_file,
};
