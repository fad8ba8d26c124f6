/* reorder.c -- from one layout to another through oneDNN. */
#include "device/onednn/api.h"

#include <stdio.h>
#include <stdlib.h>

struct reorder {
  struct dnn_device *device; /* borrowed */
  struct dnn_exec exec;
};

static pn_status reorder_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct reorder *r = state;
  (void)ctx;
  return dnn_exec_run(r->device, &r->exec, ptr);
}

static void reorder_destroy(void *state) {
  struct reorder *r = state;
  if (!r) return;
  dnn_exec_free(&r->exec);
  free(r);
}

pn_status dnn_reorder(pn_device *d, const pn_layout *from, const pn_layout *to, pn_kernel *out) {
  struct dnn_device *m = d->impl;
  struct dnn_md src = {.made = false}, dst = {.made = false};
  dnnl_primitive_desc_t pd = NULL;
  struct reorder *r = calloc(1, sizeof *r);
  pn_status st = PN_OK;

  *out = (pn_kernel){.run = NULL};
  if (!r) return PN_FAIL(PN_ERR_NOMEM, "onednn: reorder");
  r->device = m;
  dnn_use_threads(m);
  PN_TRY(dnn_md_make(from, &src));
  PN_TRY(dnn_md_make(to, &dst));
  PN_TRY(dnn_check(dnnl_reorder_primitive_desc_create(&pd, dnn_md_use(&src), m->engine,
                                                      dnn_md_use(&dst), m->engine, NULL),
                   "reorder"));
  const struct dnn_arg args[] = {{DNNL_ARG_FROM, dnn_md_use(&src), PN_SRC},
                                 {DNNL_ARG_TO, dnn_md_use(&dst), PN_DST}};
  PN_TRY(dnn_exec_make(m, pd, args, 2, &r->exec));
  *out = (pn_kernel){.run = reorder_run, .destroy = reorder_destroy, .state = r};
  snprintf(out->impl, sizeof out->impl, "%s", dnn_pd_impl(pd));
  r = NULL;
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  dnn_md_free(&src);
  dnn_md_free(&dst);
  reorder_destroy(r);
  return st;
}
