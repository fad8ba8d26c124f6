/* tensor_file_internal.h -- what a format provides; for the readers of src/interop only. */
#ifndef PN_INTEROP_TENSOR_FILE_INTERNAL_H
#define PN_INTEROP_TENSOR_FILE_INTERNAL_H

#include "interop/tensor_file.h"

typedef struct {
  const char *name;
  bool keras;
  /* head: the first 16 bytes of the file; none of a folder */
  bool (*detect)(const char *path, const unsigned char *head, size_t bytes);
  pn_status (*open)(pn_tensor_file *f);
  pn_status (*read)(pn_tensor_file *f, int i, float *out);
  void (*close)(pn_tensor_file *f);                  /* frees f->impl */
  const json_t *(*classes)(const pn_tensor_file *f); /* NULL: it does not say */
} pn_tensor_format;

struct pn_tensor_file {
  const pn_tensor_format *format;
  char *path;           /* owned */
  pn_tensor_info *info; /* [n], owned */
  int n, room;
  void *impl; /* owned by the format */
};

/* Room for one more tensor, zeroed; NULL: out of memory. */
pn_tensor_info *pn_tensor_file_add(pn_tensor_file *f);

extern const pn_tensor_format pn_safetensors_format, pn_keras_h5_format, pn_run_format;

#endif
