/* tensor_file.h -- named tensors in the weight files of other programs, read as logical f32.
 *
 * Formats (specs/formats.md): safetensors; Keras HDF5 (`*.h5` with layer_names); the folder of a
 * run of this program (out.path), whose checkpoint is read.  Names come out in
 * PyTorch's form, "LAYER.weight": Keras kernels are transposed from H W I O to O I H W (dense: I O
 * to O I), gamma, beta, moving_mean and moving_variance are weight, bias, running_mean and
 * running_var. */
#ifndef PN_INTEROP_TENSOR_FILE_H
#define PN_INTEROP_TENSOR_FILE_H

#include "base/status.h"
#include "tensor/shape.h"

#include <jansson.h>
#include <stdint.h>

enum { PN_TENSOR_NAME_BYTES = 256 };

typedef struct {
  char name[PN_TENSOR_NAME_BYTES];
  pn_shape shape;      /* logical */
  const char *problem; /* why it cannot be read; NULL: it can.  Static text */
} pn_tensor_info;

/* "LAYER.kernel" -> "LAYER.weight", and so on; any other name stays as it is. */
void pn_tensor_plain_name(const char *name, char out[PN_TENSOR_NAME_BYTES]);

typedef struct pn_tensor_file pn_tensor_file;

/* The format is told by the content.  Not collective.  Errors: IO; FORMAT with the offending
 * field. */
pn_status pn_tensor_file_open(const char *path, pn_tensor_file **out);
void pn_tensor_file_close(pn_tensor_file *f);

const char *pn_tensor_file_path(const pn_tensor_file *f);
const char *pn_tensor_file_format(const pn_tensor_file *f); /* "safetensors", ... */
bool pn_tensor_file_keras(const pn_tensor_file *f); /* images were N H W C when it was made */
/* Names of the classes its last layer tells apart; borrowed, NULL: it does not say. */
const json_t *pn_tensor_file_classes(const pn_tensor_file *f);
int pn_tensor_file_count(const pn_tensor_file *f);
const pn_tensor_info *pn_tensor_file_info(const pn_tensor_file *f, int i);

/* Elements of tensor i, converted to f32, row-major in info->shape.  Errors: IO, FORMAT (it has a
 * problem). */
pn_status pn_tensor_file_read(pn_tensor_file *f, int i, float *out);

#endif
