/* gray.c -- grey image buffers and reject records: the two small types of the readers. */
#include "data/gray.h"
#include "data/reject.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static pn_status reserve(pn_gray *g, int64_t height, int64_t width, int channels,
                         int bytes_per_pixel) {
  size_t need;

  if (height < 1 || width < 1 || height > INT32_MAX || width > INT32_MAX)
    return PN_FAIL(PN_ERR_ARG, "image of %lld x %lld pixels", (long long)height, (long long)width);
  need = (size_t)height * (size_t)width * (size_t)(channels * bytes_per_pixel);
  if (need > g->capacity) {
    void *data = malloc(need);
    if (!data) return PN_FAIL(PN_ERR_NOMEM, "image of %zu bytes: out of memory", need);
    free(g->data);
    g->data = data;
    g->capacity = need;
  }
  g->height = height;
  g->width = width;
  g->channels = channels;
  g->bytes_per_pixel = bytes_per_pixel;
  return PN_OK;
}

pn_status pn_gray_reserve(pn_gray *g, int64_t height, int64_t width, int bytes_per_pixel) {
  return reserve(g, height, width, 1, bytes_per_pixel);
}

pn_status pn_gray_reserve_rgb(pn_gray *g, int64_t height, int64_t width, int bytes_per_pixel) {
  return reserve(g, height, width, 3, bytes_per_pixel);
}

void pn_gray_free(pn_gray *g) {
  if (!g) return;
  free(g->data);
  *g = (pn_gray){0};
}

bool pn_reject_set(pn_reject *r, const char *reason, const char *tag, const char *fmt, ...) {
  va_list args;

  snprintf(r->reason, sizeof r->reason, "%s", reason);
  snprintf(r->tag, sizeof r->tag, "%s", tag ? tag : "");
  va_start(args, fmt);
  vsnprintf(r->value, sizeof r->value, fmt, args);
  va_end(args);
  return true;
}
