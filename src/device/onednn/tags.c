/* tags.c -- our layout tags are the names of oneDNN's format tags: from names to tags and back. */
#include "device/onednn/api.h"

#include <oneapi/dnnl/dnnl_debug.h>
#include <stdio.h>
#include <string.h>

/* any for "", undef where no tag has that name. */
static dnnl_format_tag_t find(const char *name) {
  if (!*name) return dnnl_format_tag_any;
  for (int t = dnnl_a; t < dnnl_format_tag_last; t++)
    if (strcmp(dnnl_fmt_tag2str((dnnl_format_tag_t)t), name) == 0) return (dnnl_format_tag_t)t;
  return dnnl_format_tag_undef;
}

pn_status dnn_md_make(const pn_layout *l, struct dnn_md *out) {
  dnnl_format_tag_t tag = find(l->tag);
  if (tag == dnnl_format_tag_undef)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "oneDNN has no layout '%s'", l->tag);
  if (!dnn_md_init(&l->shape, l->type, tag, out))
    return PN_FAIL(PN_ERR_UNSUPPORTED, "oneDNN: layout '%s' does not fit", l->tag);
  return PN_OK;
}

/* Is this tag of `n` dimensions? "Acdb16a" has 4: letters outside the inner blocks. */
static bool has_dims(const char *tag, int n) {
  int letters = 0;
  for (; *tag && (*tag < '0' || *tag > '9'); tag++) letters++;
  return letters == n;
}

static bool names(dnn_md_ref md, const pn_shape *shape, pn_dtype type, dnnl_format_tag_t tag) {
  struct dnn_md m = {.made = false};
  bool same = dnn_md_init(shape, type, tag, &m) && dnnl_memory_desc_equal(dnn_md_use(&m), md) != 0;
  dnn_md_free(&m);
  return same;
}

bool dnn_tag_of(dnn_md_ref md, const pn_shape *shape, pn_dtype type, char tag[PN_TAG_BYTES]) {
  for (int t = dnnl_a; t < dnnl_format_tag_last; t++) {
    const char *name = dnnl_fmt_tag2str((dnnl_format_tag_t)t);
    if (strlen(name) >= PN_TAG_BYTES || !has_dims(name, shape->n_dims)) continue;
    if (!names(md, shape, type, (dnnl_format_tag_t)t)) continue;
    snprintf(tag, PN_TAG_BYTES, "%s", name);
    return true;
  }
  return false;
}
