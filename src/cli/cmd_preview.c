/* cmd_preview.c -- `pneuma preview [CONFIG.yaml]`: a sheet of augmented training images as PNG. */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/train_setup.h"
#include "data/png_write.h"
#include "data/preview.h"

#include <stdio.h>
#include <string.h>

static const char *file_name(const pn_options *o) {
  const char *path = pn_options_text(o, "out.path");
  return strcmp(path, "auto") == 0 ? "preview.png" : path;
}

/* "augment.hflip=0.5 augment.rotate=10" */
static void list_transforms(const pn_augment_config *c, char *out, size_t out_bytes) {
  size_t n = 0;

  snprintf(out, out_bytes, "no augment.* option is set: all columns are alike");
  for (int t = 0; t < PN_AUG_COUNT && n < out_bytes; t++)
    if (c->range[t] > 0)
      n += (size_t)snprintf(out + n, out_bytes - n, "%saugment.%s=%g", n ? " " : "",
                            pn_transform_name((pn_transform)t), c->range[t]);
}

static json_t *result_json(const char *path, const pn_preview_spec *p, const pn_sheet *s) {
  return json_pack("{s:s, s:i, s:i, s:I, s:I, s:i}", "file", path, "images", p->images, "epochs",
                   p->epochs, "width", (json_int_t)s->width, "height", (json_int_t)s->height,
                   "channels", s->channels);
}

static pn_status draw(pn_cli *x, pn_dataset *d) {
  const pn_options *o = x->opt;
  const char *path = file_name(o);
  pn_reader r = pn_reader_make(d, PN_TRAIN, (float)pn_options_float(o, "model.input_mean"),
                               (float)pn_options_float(o, "model.input_sd"));
  pn_preview_spec spec = {&r, (int)pn_options_int(o, "preview.images"),
                          (int)pn_options_int(o, "preview.epochs")};
  char what[512];
  pn_augment_config c;
  pn_augment *a = NULL;
  pn_sheet s = {.pixels = NULL};
  pn_status st = PN_OK;

  pn_augment_setup(o, &c);
  PN_TRY(pn_augment_create(&c, &r.format, &a));
  r.augment = a;
  PN_TRY(pn_preview_draw(&spec, &s));
  PN_TRY(pn_png_write(path, s.height, s.width, s.channels, s.pixels));
  x->result = result_json(path, &spec, &s);
  list_transforms(&c, what, sizeof what);
  if (pn_cli_speaks(x))
    printf("%s: %d images as stored and in %d epochs, %lld x %lld pixels\n%s\n", path, spec.images,
           spec.epochs, (long long)s.width, (long long)s.height, what);
done:
  pn_sheet_free(&s);
  pn_augment_destroy(a);
  return st;
}

pn_status pn_cmd_preview(pn_cli *x) {
  pn_dataset *d = NULL;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(x->comm, pn_augment_check(x->opt)));
  PN_TRY(pn_data_open(x->opt, x->comm, &d));
  PN_TRY(pn_agree(x->comm, pn_comm_rank(x->comm) == 0 ? draw(x, d) : PN_OK));
done:
  pn_dataset_close(d);
  return st;
}
