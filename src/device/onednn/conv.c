/* conv.c -- convolution through oneDNN, ReLU fused forward: choosing layouts that have a fast
 * implementation.  Forcing one pass's layouts on another can fall to oneDNN's "ref" code, 200 times
 * slower, so every choice is checked by the implementation's name. */
#include "device/onednn/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Roles of the three tensors of a pass, in oneDNN's order, and their argument numbers. */
static const struct pass_row {
  pn_role src, weight, bias, dst;
  int src_arg, weight_arg, bias_arg, dst_arg;
} pass_rows[PN_PASS_COUNT] = {
    [PN_FORWARD] = {PN_SRC, PN_WEIGHT, PN_BIAS, PN_DST, DNNL_ARG_SRC, DNNL_ARG_WEIGHTS,
                    DNNL_ARG_BIAS, DNNL_ARG_DST},
    [PN_BACKWARD_WEIGHT] = {PN_SRC, PN_DWEIGHT, PN_DBIAS, PN_DDST, DNNL_ARG_SRC,
                            DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST},
    [PN_BACKWARD_DATA] = {PN_DSRC, PN_WEIGHT, PN_BIAS, PN_DDST, DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS,
                          DNNL_ARG_BIAS, DNNL_ARG_DIFF_DST},
};

struct conv {
  struct dnn_device *device; /* borrowed */
  struct dnn_exec exec;
};

static pn_dtype type_of(const struct dnn_conv_request *r, int tensor) {
  return tensor == DNN_CONV_WEIGHT && r->pass == PN_BACKWARD_WEIGHT ? PN_F32 : r->type;
}

static pn_status make_md(const struct dnn_conv_request *r, const pn_layout *want, int tensor,
                         struct dnn_md *out) {
  pn_layout l = want[tensor];
  l.type = type_of(r, tensor);
  return dnn_md_make(&l, out);
}

/* The descriptor for one choice of layouts, NULL where there is none. */
static dnnl_primitive_desc_t try_layouts(const struct dnn_conv_request *r,
                                         const pn_layout want[DNN_CONV_TENSORS]) {
  const pn_op_desc *op = r->op;
  pn_layout bias = pn_layout_plain(pn_shape1(op->weight.dim[0]));
  struct dnn_conv conv = {.pass = r->pass, .training = r->training};
  dnnl_primitive_desc_t pd = NULL;
  dnnl_primitive_attr_t attr = NULL;
  pn_status st = PN_OK;

  memcpy(conv.stride, op->window.stride, sizeof op->window.stride);
  memcpy(conv.pad_before, op->window.pad_before, sizeof op->window.pad_before);
  memcpy(conv.pad_after, op->window.pad_after, sizeof op->window.pad_after);
  PN_TRY(make_md(r, want, DNN_CONV_SRC, &conv.src));
  PN_TRY(make_md(r, want, DNN_CONV_WEIGHT, &conv.weight));
  PN_TRY(make_md(r, want, DNN_CONV_DST, &conv.dst));
  if (op->bias && r->pass != PN_BACKWARD_DATA) PN_TRY(dnn_md_make(&bias, &conv.bias));
  PN_TRY(dnn_attr_make(&r->post, &attr));
  if (dnn_conv_create(r->device->engine, &conv, attr, &pd) != dnnl_success) pd = NULL;
done:
  if (attr) dnnl_primitive_attr_destroy(attr);
  dnn_md_free(&conv.src);
  dnn_md_free(&conv.weight);
  dnn_md_free(&conv.dst);
  dnn_md_free(&conv.bias);
  return pd;
}

static dnn_md_ref md_of(const_dnnl_primitive_desc_t pd, int arg) {
  return dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
}

/* "ref:any", "ref", "gemm:ref": loops 100 times slower than the rest. */
static bool is_reference(const char *impl) {
  return strncmp(impl, "ref", 3) == 0 || strstr(impl, ":ref") != NULL;
}

/* The layouts of `pd` into `found`; false where one has no name or the code is "ref". */
static bool acceptable(const struct dnn_conv_request *r, const_dnnl_primitive_desc_t pd,
                       pn_layout found[DNN_CONV_TENSORS]) {
  const struct pass_row *row = &pass_rows[r->pass];
  const int arg[DNN_CONV_TENSORS] = {row->src_arg, row->weight_arg, row->dst_arg};
  const pn_shape shape[DNN_CONV_TENSORS] = {r->op->in, r->op->weight, r->op->out};
  if (is_reference(dnn_pd_impl(pd))) return false;
  for (int i = 0; i < DNN_CONV_TENSORS; i++) {
    found[i] = pn_layout_any(shape[i]);
    found[i].type = type_of(r, i);
    if (!dnn_tag_of(md_of(pd, arg[i]), &shape[i], found[i].type, found[i].tag)) return false;
  }
  return true;
}

bool dnn_conv_take(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                   const char *impl, pn_layout found[DNN_CONV_TENSORS],
                   dnnl_primitive_desc_t *out) {
  dnnl_primitive_desc_t pd = try_layouts(r, want);
  if (!pd) return false;
  if (acceptable(r, pd, found) && (!*impl || strcmp(dnn_pd_impl(pd), impl) == 0)) {
    *out = pd;
    return true;
  }
  dnnl_primitive_desc_destroy(pd);
  return false;
}

static void set_tags(const struct dnn_conv_request *r, const char *const tag[DNN_CONV_TENSORS],
                     pn_layout out[DNN_CONV_TENSORS]) {
  const pn_shape shape[DNN_CONV_TENSORS] = {r->op->in, r->op->weight, r->op->out};
  for (int i = 0; i < DNN_CONV_TENSORS; i++) {
    out[i] = pn_layout_any(shape[i]);
    snprintf(out[i].tag, sizeof out[i].tag, "%s", tag[i]);
  }
}

/* Where oneDNN's free choice is "ref" or has no name: layouts that are known to have fast code. */
static bool take_known(const struct dnn_conv_request *r, pn_layout found[DNN_CONV_TENSORS],
                       dnnl_primitive_desc_t *out) {
  static const char *const known[][DNN_CONV_TENSORS] = {{"abcd", "", ""},
                                                        {"abcd", "abcd", "abcd"},
                                                        {"aBcd16b", "", "aBcd16b"},
                                                        {"aBcd8b", "", "aBcd8b"},
                                                        {"acdb", "", "acdb"}};
  pn_layout want[DNN_CONV_TENSORS];
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    set_tags(r, known[i], want);
    if (dnn_conv_take(r, want, "", found, out)) return true;
  }
  return false;
}

pn_status dnn_conv_choose(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                          pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *out) {
  static const char *const open[DNN_CONV_TENSORS] = {"", "", ""};
  static const char *const nhwc[DNN_CONV_TENSORS] = {"acdb", "", "acdb"};
  pn_layout any[DNN_CONV_TENSORS], weight[DNN_CONV_TENSORS];
  char best[PN_IMPL_BYTES] = "";

  *out = NULL;
  set_tags(r, nhwc, any);
  if (r->type == PN_BF16 && dnn_conv_take(r, any, "", found, out)) return PN_OK;
  set_tags(r, open, any);
  set_tags(r, open, weight);
  weight[DNN_CONV_WEIGHT] = want[DNN_CONV_WEIGHT];
  if (!dnn_conv_take(r, any, "", found, out))
    return take_known(r, found, out)
               ? PN_OK
               : PN_FAIL(PN_ERR_UNSUPPORTED, "oneDNN: only reference code for this convolution");
  if (r->type == PN_BF16) return PN_OK;
  /* the same code with what is there already saves reorders */
  snprintf(best, sizeof best, "%s", dnn_pd_impl(*out));
  dnnl_primitive_desc_t fitting = NULL;
  pn_layout fit[DNN_CONV_TENSORS];
  if (dnn_conv_take(r, want, best, fit, &fitting) ||
      dnn_conv_take(r, weight, best, fit, &fitting)) {
    dnnl_primitive_desc_destroy(*out);
    *out = fitting;
    memcpy(found, fit, sizeof fit);
  }
  return PN_OK;
}

#define POST_ARG(i) (DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1)

/* Scale and shift are given as GAMMA and BETA. */
pn_status dnn_conv_exec(const struct dnn_conv_request *r, const_dnnl_primitive_desc_t pd,
                        struct dnn_exec *out) {
  const struct pass_row *row = &pass_rows[r->pass];
  bool bias = r->op->bias && r->pass != PN_BACKWARD_DATA;
  struct dnn_md channel = {.made = false}, added = {.made = false};
  int n = 3, post = 0;
  pn_status st = PN_OK;
  struct dnn_arg args[DNN_MAX_ARGS] = {{row->src_arg, md_of(pd, row->src_arg), row->src},
                                       {row->weight_arg, md_of(pd, row->weight_arg), row->weight},
                                       {row->dst_arg, md_of(pd, row->dst_arg), row->dst}};
  if (bias) args[n++] = (struct dnn_arg){row->bias_arg, md_of(pd, row->bias_arg), row->bias};
  if (r->post.affine) {
    PN_TRY(dnn_channel_md(r->post.affine, &channel));
    args[n++] = (struct dnn_arg){POST_ARG(post++), dnn_md_use(&channel), PN_GAMMA};
    args[n++] = (struct dnn_arg){POST_ARG(post++), dnn_md_use(&channel), PN_BETA};
  }
  if (r->post.added) {
    PN_TRY(dnn_md_make(r->post.added, &added));
    args[n++] = (struct dnn_arg){POST_ARG(post++), dnn_md_use(&added), PN_SRC1};
  }
  st = dnn_exec_make(r->device, pd, args, n, out);
done:
  dnn_md_free(&channel);
  dnn_md_free(&added);
  return st;
}

static pn_status conv_run(void *state, void *const ptr[PN_ROLE_COUNT], const pn_step_ctx *ctx) {
  struct conv *c = state;
  (void)ctx;
  return dnn_exec_run(c->device, &c->exec, ptr);
}

static void conv_destroy(void *state) {
  struct conv *c = state;
  if (!c) return;
  dnn_exec_free(&c->exec);
  free(c);
}

/* The answer to the planner: layouts, operands, scratch. */
static void answer(const struct dnn_conv_request *r, const_dnnl_primitive_desc_t pd,
                   const pn_layout found[DNN_CONV_TENSORS], pn_task *t) {
  const struct pass_row *row = &pass_rows[r->pass];
  t->layout[row->src] = found[DNN_CONV_SRC];
  t->layout[row->weight] = found[DNN_CONV_WEIGHT];
  t->layout[row->dst] = found[DNN_CONV_DST];
  t->uses = 1u << row->src | 1u << row->weight | 1u << row->dst;
  if (r->op->bias && r->pass != PN_BACKWARD_DATA) t->uses |= 1u << row->bias;
  t->scratch_bytes = dnn_pd_scratch(pd);
  if (t->scratch_bytes) t->uses |= 1u << PN_SCRATCH;
  if (r->pass == PN_FORWARD) t->aux_bytes = 0;
}

bool dnn_conv_take_stored(const struct dnn_conv_request *r, const pn_layout want[DNN_CONV_TENSORS],
                          pn_layout found[DNN_CONV_TENSORS], dnnl_primitive_desc_t *out) {
  pn_layout open[DNN_CONV_TENSORS], blocked[DNN_CONV_TENSORS];

  if (r->pass != PN_FORWARD || r->training || !want[DNN_CONV_WEIGHT].tag[0] || r->type != PN_F32)
    return false;
  memcpy(open, want, sizeof open);
  memcpy(blocked, want, sizeof blocked);
  open[DNN_CONV_SRC].tag[0] = blocked[DNN_CONV_WEIGHT].tag[0] = '\0';
  if (!blocked[DNN_CONV_DST].tag[0])
    snprintf(blocked[DNN_CONV_DST].tag, PN_TAG_BYTES, "aBcd%db", dnn_lanes() == 16 ? 16 : 8);
  return dnn_conv_take(r, want, "", found, out) || dnn_conv_take(r, open, "", found, out) ||
         dnn_conv_take(r, blocked, "", found, out);
}

void dnn_conv_storage(const struct dnn_conv_request *r, pn_task *t) {
  struct dnn_conv_request back = *r;
  pn_layout open[DNN_CONV_TENSORS], found[DNN_CONV_TENSORS];
  dnnl_primitive_desc_t pd = NULL;

  if (r->pass != PN_FORWARD || r->type != PN_BF16) return;
  back.pass = PN_BACKWARD_WEIGHT;
  back.post = (struct dnn_post){.relu = false};
  set_tags(&back, (const char *const[]){"", "", ""}, open);
  if (dnn_conv_choose(&back, open, found, &pd) == PN_OK)
    t->layout[PN_DWEIGHT] = found[DNN_CONV_WEIGHT];
  if (pd) dnnl_primitive_desc_destroy(pd);
}

pn_status dnn_conv_single_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  const struct pass_row *row = &pass_rows[t->pass];
  struct dnn_conv_request r = {d->impl,     t->pass,      t->op[0],
                               t->training, t->precision, {.relu = false}};
  pn_layout want[DNN_CONV_TENSORS] = {t->layout[row->src], t->layout[row->weight],
                                      t->layout[row->dst]};
  pn_layout found[DNN_CONV_TENSORS];
  dnnl_primitive_desc_t pd = NULL;
  struct conv *c = calloc(1, sizeof *c);
  pn_status st = PN_OK;

  if (!c) return PN_FAIL(PN_ERR_NOMEM, "onednn: conv");
  r.post.relu = t->pass == PN_FORWARD && t->n_ops == 2;
  c->device = d->impl;
  if (!dnn_conv_take_stored(&r, want, found, &pd)) PN_TRY(dnn_conv_choose(&r, want, found, &pd));
  PN_TRY(dnn_conv_exec(&r, pd, &c->exec));
  answer(&r, pd, found, t);
  dnn_conv_storage(&r, t);
  *out = (pn_kernel){.run = conv_run, .destroy = conv_destroy, .state = c};
  snprintf(out->impl, sizeof out->impl, "%s", dnn_pd_impl(pd));
  c = NULL;
done:
  if (pd) dnnl_primitive_desc_destroy(pd);
  conv_destroy(c);
  return st;
}

pn_status dnn_conv_prepare(pn_device *d, pn_task *t, pn_kernel *out) {
  if (t->op[0]->in.n_dims != 4)
    return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: conv of %d dimensions", t->op[0]->in.n_dims);
  if (dnn_conv_norm_fits(t)) return dnn_conv_norm_prepare(d, t, out);
  if (dnn_small_conv_fits(t)) return dnn_small_conv_prepare(d, t, out);
  if (dnn_amx_fits(t)) return dnn_amx_prepare(d, t, out);
  if (dnn_columns_fits(t)) return dnn_columns_prepare(d, t, out);
  if (dnn_amx_fits_shorter(t)) return PN_FAIL(PN_ERR_UNSUPPORTED, "onednn: tiles without a pool");
  if (t->n_ops == 3) return dnn_conv_pool_prepare(d, t, out);
  if (t->pass == PN_BACKWARD_POST) return dnn_relu_post(d, t, out);
  return dnn_conv_single_prepare(d, t, out);
}
