/* model_json.c -- pn_model_config <-> JSON, for the manifests of checkpoints. */
#include "train/model_json.h"

json_t *pn_model_config_json(const pn_model_config *c) {
  return json_pack(
      "{s:[I,I], s:I, s:I, s:[I,I], s:I, s:I, s:I, s:b, s:f, s:f, s:f, s:b}", "size",
      (json_int_t)c->size[0], (json_int_t)c->size[1], "channels", (json_int_t)c->channels,
      "classes", (json_int_t)c->classes, "filters", (json_int_t)c->filters[0],
      (json_int_t)c->filters[1], "kernel", (json_int_t)c->kernel, "hidden", (json_int_t)c->hidden,
      "width", (json_int_t)c->width, "padding", c->padding, "dropout", (double)c->dropout,
      "input_mean", (double)c->input_mean, "input_sd", (double)c->input_sd, "softmax", c->softmax);
}

pn_status pn_model_config_parse(json_t *j, const char *where, pn_model_config *out) {
  json_int_t size[2], channels, classes, filters[2], kernel, hidden, width;
  int padding, softmax;
  double dropout, mean, sd;
  json_error_t e;

  if (json_unpack_ex(
          j, &e, 0, "{s:[I,I], s:I, s:I, s:[I,I], s:I, s:I, s:I, s:b, s:F, s:F, s:F, s:b}", "size",
          &size[0], &size[1], "channels", &channels, "classes", &classes, "filters", &filters[0],
          &filters[1], "kernel", &kernel, "hidden", &hidden, "width", &width, "padding", &padding,
          "dropout", &dropout, "input_mean", &mean, "input_sd", &sd, "softmax", &softmax) != 0)
    return PN_FAIL(PN_ERR_FORMAT, "%s: model configuration: %s", where, e.text);
  *out = (pn_model_config){.size = {size[0], size[1]},
                           .channels = channels,
                           .classes = classes,
                           .filters = {filters[0], filters[1]},
                           .kernel = kernel,
                           .hidden = hidden,
                           .width = width,
                           .padding = padding != 0,
                           .dropout = (float)dropout,
                           .input_mean = (float)mean,
                           .input_sd = (float)sd,
                           .softmax = softmax != 0};
  return PN_OK;
}
