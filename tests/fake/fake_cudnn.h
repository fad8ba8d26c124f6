/* fake_cudnn.h -- what the two files of the made-up cuDNN share: a graph as a run needs it. */
#ifndef PN_TESTS_FAKE_CUDNN_H
#define PN_TESTS_FAKE_CUDNN_H

#include "fake_cudart.h"

#include <cudnn.h>

enum { MOST_OPS = 5 };

typedef struct {
  int64_t uid, dim[4], stride[4];
  cudnnDataType_t type;
  bool inside;
  void *at;
} tensor;

/* One operation: t[0] and t[1] are read and t[2] is written, but for the passes backward of a
 * convolution, where it is x (t[0]) or w (t[1]). */
typedef struct {
  cudnnBackendDescriptorType_t kind;
  cudnnPointwiseMode_t mode;
  int64_t stride[2], pad[2];
  int n;
  tensor t[3];
} operation;

/* Operations in their order; see `engines` for what the engine is like. */
typedef struct {
  int n;
  bool wild, restless, compiled;
  operation op[MOST_OPS];
  void *workspace;
  size_t bytes;
} job;

bool fake_cudnn_is_conv(const operation *o);
/* Runs the operations; args: a job, which stays as it is, for a graph runs it again. */
fake_work fake_cudnn_run;

#endif
