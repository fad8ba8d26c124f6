/* exec.c -- one primitive with its memory objects, ready to run. */
#include "device/onednn/api.h"

#include <omp.h>

pn_status dnn_check(dnnl_status_t rc, const char *what) {
  static const char *const reason[] = {"success",      "out of memory", "invalid arguments",
                                       "no such code", "no more",       "runtime error",
                                       "not required"};
  if (rc == dnnl_success) return PN_OK;
  return PN_FAIL(rc == dnnl_out_of_memory ? PN_ERR_NOMEM : PN_ERR_DEVICE, "oneDNN: %s: %s (%d)",
                 what, (int)rc >= 0 && (int)rc < 7 ? reason[rc] : "unknown error", (int)rc);
}

pn_status dnn_channel_md(int64_t channels, struct dnn_md *out) {
  pn_layout l = pn_layout_plain(pn_shape4(1, channels, 1, 1));
  return dnn_md_make(&l, out);
}

static pn_status append(dnnl_post_ops_t ops, const struct dnn_post *post) {
  struct dnn_md channel = {.made = false}, added = {.made = false};
  pn_status st = PN_OK;

  if (post->affine) {
    PN_TRY(dnn_channel_md(post->affine, &channel));
    PN_TRY(dnn_check(dnnl_post_ops_append_binary(ops, dnnl_binary_mul, dnn_md_use(&channel)),
                     "post-op mul"));
    PN_TRY(dnn_check(dnnl_post_ops_append_binary(ops, dnnl_binary_add, dnn_md_use(&channel)),
                     "post-op add"));
  }
  if (post->added) {
    PN_TRY(dnn_md_make(post->added, &added));
    PN_TRY(dnn_check(dnnl_post_ops_append_binary(ops, dnnl_binary_add, dnn_md_use(&added)),
                     "post-op sum"));
  }
  if (post->relu) PN_TRY(dnn_check(dnn_post_relu(ops), "post-op relu"));
done:
  dnn_md_free(&channel);
  dnn_md_free(&added);
  return st;
}

pn_status dnn_attr_make(const struct dnn_post *post, dnnl_primitive_attr_t *out) {
  dnnl_post_ops_t ops = NULL;
  dnnl_status_t rc = dnnl_primitive_attr_create(out);
  pn_status st;
  if (rc == dnnl_success)
    rc = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
  if (rc == dnnl_success) rc = dnnl_post_ops_create(&ops);
  PN_TRY(dnn_check(rc, "attributes"));
  PN_TRY(append(ops, post));
  PN_TRY(dnn_check(dnnl_primitive_attr_set_post_ops(*out, ops), "attributes"));
done:
  if (ops) dnnl_post_ops_destroy(ops);
  return st;
}

/* oneDNN takes OpenMP's current number; rows of a study differ in it. */
void dnn_use_threads(const struct dnn_device *d) {
  if (omp_get_max_threads() != d->threads) omp_set_num_threads(d->threads);
}

size_t dnn_pd_scratch(const_dnnl_primitive_desc_t pd) {
  dnn_md_ref md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  return md ? dnnl_memory_desc_get_size(md) : 0;
}

const char *dnn_pd_impl(const_dnnl_primitive_desc_t pd) {
  const char *name = NULL;
  if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) != dnnl_success || !name)
    return "unknown";
  return name;
}

static pn_status add_arg(struct dnn_device *d, const struct dnn_arg *a, struct dnn_exec *x) {
  dnnl_memory_t memory = NULL;
  pn_status st =
      dnn_check(dnnl_memory_create(&memory, a->md, d->engine, DNNL_MEMORY_NONE), "memory object");
  if (st != PN_OK) return st;
  x->arg[x->n] = (dnnl_exec_arg_t){.arg = a->arg, .memory = memory};
  x->role[x->n] = a->role;
  x->bound[x->n++] = NULL;
  return PN_OK;
}

pn_status dnn_exec_make(struct dnn_device *d, const_dnnl_primitive_desc_t pd,
                        const struct dnn_arg *args, int n, struct dnn_exec *out) {
  pn_status st = PN_OK;
  struct dnn_arg scratch = {DNNL_ARG_SCRATCHPAD,
                            dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0),
                            PN_SCRATCH};
  *out = (struct dnn_exec){.n = 0};
  PN_TRY(dnn_check(dnnl_primitive_create(&out->primitive, pd), "primitive"));
  for (int i = 0; i < n; i++) PN_TRY(add_arg(d, &args[i], out));
  if (dnn_pd_scratch(pd) > 0) PN_TRY(add_arg(d, &scratch, out));
done:
  if (st != PN_OK) dnn_exec_free(out);
  return st;
}

void dnn_exec_free(struct dnn_exec *x) {
  for (int i = 0; i < x->n; i++) dnnl_memory_destroy(x->arg[i].memory);
  if (x->primitive) dnnl_primitive_destroy(x->primitive);
  *x = (struct dnn_exec){.n = 0};
}

pn_status dnn_exec_run(struct dnn_device *d, struct dnn_exec *x, void *const ptr[PN_ROLE_COUNT]) {
  dnn_use_threads(d);
  for (int i = 0; i < x->n; i++) {
    void *p = ptr[x->role[i]];
    if (p == x->bound[i]) continue;
    if (dnnl_memory_set_data_handle(x->arg[i].memory, p) != dnnl_success)
      return PN_FAIL(PN_ERR_DEVICE, "oneDNN: memory object refuses a pointer");
    x->bound[i] = p;
  }
  dnnl_status_t rc = dnnl_primitive_execute(x->primitive, d->stream, x->n, x->arg);
  if (rc == dnnl_success) rc = dnnl_stream_wait(d->stream);
  return dnn_check(rc, "execute");
}
