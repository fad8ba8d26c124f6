/* run_weights.c -- the weights of a run of this program: the checkpoint that `pneuma eval` would
 * take. */
#include "interop/tensor_file_internal.h"

#include "train/checkpoint.h"

#include <stdlib.h>
#include <sys/stat.h>

static bool detect(const char *path, const unsigned char *head, size_t bytes) {
  struct stat info;
  (void)head;
  (void)bytes;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static pn_status open_run(pn_tensor_file *f) {
  pn_saved_run *run = calloc(1, sizeof *run);
  const char *name;
  pn_shape shape;
  pn_status st;

  if (!run) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
  f->impl = run;
  if ((st = pn_saved_run_open(f->path, "auto", run)) != PN_OK) return st;
  for (int i = 0; (name = pn_saved_run_tensor(run, i, &shape)); i++) {
    pn_tensor_info *t = pn_tensor_file_add(f);
    if (!t) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", f->path);
    pn_tensor_plain_name(name, t->name);
    t->shape = shape;
  }
  if (f->n < (int)json_array_size(json_object_get(run->manifest, "tensors")))
    return PN_FAIL(PN_ERR_FORMAT, "%s: bad tensor %d in its manifest", run->folder, f->n);
  return PN_OK;
}

static pn_status read_tensor(pn_tensor_file *f, int i, float *out) {
  return pn_saved_run_read(f->impl, i, out);
}

static const json_t *classes(const pn_tensor_file *f) {
  return pn_saved_run_classes(f->impl);
}

static void close_run(pn_tensor_file *f) {
  if (f->impl) pn_saved_run_close(f->impl);
  free(f->impl);
  f->impl = NULL;
}

const pn_tensor_format pn_run_format = {
    .name = "checkpoint of a run",
    .detect = detect,
    .open = open_run,
    .read = read_tensor,
    .close = close_run,
    .classes = classes,
};
