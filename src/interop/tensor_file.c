/* tensor_file.c -- the list of formats and what they share. */
#include "interop/tensor_file_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 16, FIRST_ROOM = 64 };

static const pn_tensor_format *const formats[] = {&pn_run_format, &pn_safetensors_format,
                                                  &pn_keras_h5_format};

pn_tensor_info *pn_tensor_file_add(pn_tensor_file *f) {
  if (f->n == f->room) {
    int room = f->room ? 2 * f->room : FIRST_ROOM;
    pn_tensor_info *info = realloc(f->info, (size_t)room * sizeof *info);
    if (!info) return NULL;
    f->info = info;
    f->room = room;
  }
  memset(&f->info[f->n], 0, sizeof *f->info);
  return &f->info[f->n++];
}

void pn_tensor_plain_name(const char *name, char out[PN_TENSOR_NAME_BYTES]) {
  static const char *const words[][2] = {{"kernel", "weight"},
                                         {"gamma", "weight"},
                                         {"beta", "bias"},
                                         {"moving_mean", "running_mean"},
                                         {"moving_variance", "running_var"}};
  const char *dot = strrchr(name, '.');

  snprintf(out, PN_TENSOR_NAME_BYTES, "%s", name);
  for (size_t i = 0; dot && i < sizeof words / sizeof *words; i++)
    if (strcmp(dot + 1, words[i][0]) == 0)
      snprintf(out, PN_TENSOR_NAME_BYTES, "%.*s.%s", (int)(dot - name), name, words[i][1]);
}

static pn_status detect(const char *path, const pn_tensor_format **out) {
  unsigned char head[HEAD_BYTES] = {0};
  FILE *file = fopen(path, "rb");
  size_t got = file ? fread(head, 1, sizeof head, file) : 0;
  bool failed = !file || (ferror(file) && errno != EISDIR);
  int error = errno;

  if (file) fclose(file);
  if (failed) return PN_FAIL(PN_ERR_IO, "%s: %s", path, strerror(error));
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (formats[i]->detect(path, head, got)) {
      *out = formats[i];
      return PN_OK;
    }
  return PN_FAIL(
      PN_ERR_FORMAT,
      "%s: neither a run nor a weight file this program reads (safetensors, Keras HDF5); a PyTorch "
      ".pth is turned into one by safetensors.torch.save_file(torch.load(F), OUT)",
      path);
}

pn_status pn_tensor_file_open(const char *path, pn_tensor_file **out) {
  const pn_tensor_format *format = NULL;
  pn_tensor_file *f = NULL;
  pn_status st = PN_OK;

  *out = NULL;
  PN_TRY(detect(path, &format));
  f = calloc(1, sizeof *f);
  if (!f || !(f->path = strdup(path))) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  f->format = format;
  PN_TRY(format->open(f));
  *out = f;
  f = NULL;
done:
  pn_tensor_file_close(f);
  return st;
}

void pn_tensor_file_close(pn_tensor_file *f) {
  if (!f) return;
  if (f->format) f->format->close(f);
  free(f->info);
  free(f->path);
  free(f);
}

const char *pn_tensor_file_path(const pn_tensor_file *f) {
  return f->path;
}

const char *pn_tensor_file_format(const pn_tensor_file *f) {
  return f->format->name;
}

bool pn_tensor_file_keras(const pn_tensor_file *f) {
  return f->format->keras;
}

const json_t *pn_tensor_file_classes(const pn_tensor_file *f) {
  return f->format->classes ? f->format->classes(f) : NULL;
}

int pn_tensor_file_count(const pn_tensor_file *f) {
  return f->n;
}

const pn_tensor_info *pn_tensor_file_info(const pn_tensor_file *f, int i) {
  return &f->info[i];
}

pn_status pn_tensor_file_read(pn_tensor_file *f, int i, float *out) {
  const pn_tensor_info *t = &f->info[i];

  if (t->problem) return PN_FAIL(PN_ERR_FORMAT, "%s: %s: %s", f->path, t->name, t->problem);
  return f->format->read(f, i, out);
}
