/* api_v3.c -- oneDNN 3.x: opaque descriptors, primitive descriptors made in one call. */
#include "device/onednn/api.h"

#if DNNL_VERSION_MAJOR >= 3
#include <string.h>

bool dnn_md_init(const pn_shape *s, pn_dtype type, dnnl_format_tag_t tag, struct dnn_md *out) {
  dnnl_data_type_t t = type == PN_BF16 ? dnnl_bf16 : dnnl_f32;
  dnnl_dims_t dim = {0};
  memcpy(dim, s->dim, sizeof s->dim);
  out->made = dnnl_memory_desc_create_with_tag(&out->d, s->n_dims, dim, t, tag) == dnnl_success;
  return out->made;
}

void dnn_md_free(struct dnn_md *m) {
  if (m->made) dnnl_memory_desc_destroy(m->d);
  m->made = false;
}

dnn_md_ref dnn_md_use(const struct dnn_md *m) {
  return m->made ? m->d : NULL;
}

dnnl_status_t dnn_post_relu(dnnl_post_ops_t post) {
  return dnnl_post_ops_append_eltwise(post, dnnl_eltwise_relu, 0.0f, 0.0f);
}

dnnl_status_t dnn_conv_create(dnnl_engine_t e, const struct dnn_conv *c, dnnl_primitive_attr_t attr,
                              dnnl_primitive_desc_t *pd) {
  static const dnnl_dims_t dense = {0, 0}; /* dilation */
  dnn_md_ref src = dnn_md_use(&c->src), weight = dnn_md_use(&c->weight);
  dnn_md_ref bias = dnn_md_use(&c->bias), dst = dnn_md_use(&c->dst);
  if (c->pass == PN_BACKWARD_WEIGHT)
    return dnnl_convolution_backward_weights_primitive_desc_create(
        pd, e, dnnl_convolution_direct, src, weight, bias, dst, c->stride, dense, c->pad_before,
        c->pad_after, NULL, attr);
  if (c->pass == PN_BACKWARD_DATA)
    return dnnl_convolution_backward_data_primitive_desc_create(
        pd, e, dnnl_convolution_direct, src, weight, dst, c->stride, dense, c->pad_before,
        c->pad_after, NULL, attr);
  return dnnl_convolution_forward_primitive_desc_create(
      pd, e, c->training ? dnnl_forward_training : dnnl_forward_inference, dnnl_convolution_direct,
      src, weight, bias, dst, c->stride, dense, c->pad_before, c->pad_after, attr);
}

dnnl_status_t dnn_matmul_create(dnnl_engine_t e, const struct dnn_md m[DNN_MATMUL_TENSORS],
                                dnnl_primitive_attr_t attr, dnnl_primitive_desc_t *pd) {
  return dnnl_matmul_primitive_desc_create(
      pd, e, dnn_md_use(&m[DNN_MATMUL_SRC]), dnn_md_use(&m[DNN_MATMUL_WEIGHT]),
      dnn_md_use(&m[DNN_MATMUL_BIAS]), dnn_md_use(&m[DNN_MATMUL_DST]), attr);
}
#else
typedef int pn_onednn_v3_unused; /* a translation unit is never empty */
#endif
