/* api_v2.c -- oneDNN 2.x: descriptors are structs, primitives go through operation descriptors. */
#include "device/onednn/api.h"

#if DNNL_VERSION_MAJOR == 2
#include <string.h>

bool dnn_md_init(const pn_shape *s, pn_dtype type, dnnl_format_tag_t tag, struct dnn_md *out) {
  dnnl_data_type_t t = type == PN_BF16 ? dnnl_bf16 : dnnl_f32;
  dnnl_dims_t dim = {0};
  memcpy(dim, s->dim, sizeof s->dim);
  out->made = dnnl_memory_desc_init_by_tag(&out->d, s->n_dims, dim, t, tag) == dnnl_success;
  return out->made;
}

void dnn_md_free(struct dnn_md *m) {
  m->made = false;
}

dnn_md_ref dnn_md_use(const struct dnn_md *m) {
  return m->made ? &m->d : NULL;
}

static dnnl_status_t describe(const struct dnn_conv *c, dnnl_convolution_desc_t *out) {
  dnn_md_ref src = dnn_md_use(&c->src), weight = dnn_md_use(&c->weight);
  dnn_md_ref bias = dnn_md_use(&c->bias), dst = dnn_md_use(&c->dst);
  if (c->pass == PN_BACKWARD_WEIGHT)
    return dnnl_convolution_backward_weights_desc_init(out, dnnl_convolution_direct, src, weight,
                                                       bias, dst, c->stride, c->pad_before,
                                                       c->pad_after);
  if (c->pass == PN_BACKWARD_DATA)
    return dnnl_convolution_backward_data_desc_init(out, dnnl_convolution_direct, src, weight, dst,
                                                    c->stride, c->pad_before, c->pad_after);
  return dnnl_convolution_forward_desc_init(
      out, c->training ? dnnl_forward_training : dnnl_forward_inference, dnnl_convolution_direct,
      src, weight, bias, dst, c->stride, c->pad_before, c->pad_after);
}

dnnl_status_t dnn_post_relu(dnnl_post_ops_t post) {
  return dnnl_post_ops_append_eltwise(post, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
}

dnnl_status_t dnn_conv_create(dnnl_engine_t e, const struct dnn_conv *c, dnnl_primitive_attr_t attr,
                              dnnl_primitive_desc_t *pd) {
  dnnl_convolution_desc_t desc;
  dnnl_status_t rc = describe(c, &desc);
  return rc == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, e, NULL) : rc;
}

dnnl_status_t dnn_matmul_create(dnnl_engine_t e, const struct dnn_md m[DNN_MATMUL_TENSORS],
                                dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd) {
  dnnl_matmul_desc_t desc;
  dnnl_status_t rc = dnnl_matmul_desc_init(
      &desc, dnn_md_use(&m[DNN_MATMUL_SRC]), dnn_md_use(&m[DNN_MATMUL_WEIGHT]),
      dnn_md_use(&m[DNN_MATMUL_BIAS]), dnn_md_use(&m[DNN_MATMUL_DST]));
  return rc == dnnl_success ? dnnl_primitive_desc_create(pd, &desc, attr, e, NULL) : rc;
}
#else
typedef int pn_onednn_v2_unused; /* a translation unit is never empty */
#endif
