/* cmd_synth.c -- `pneuma synth OUT`: phantoms in the RSNA layout. */
#include "cli/cli.h"
#include "cli/units.h"
#include "data/synth.h"

static json_t *result_json(const char *out, const pn_synth_config *cfg, const pn_synth_result *r) {
  return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "out", out, "seed",
                   (json_int_t)cfg->seed, "images", (json_int_t)r->images, "positives",
                   (json_int_t)r->positives, "boxes", (json_int_t)r->boxes, "bytes",
                   (json_int_t)r->bytes, "seconds", r->seconds, "images_per_s", r->images_per_s);
}

static void print(const char *out, const pn_synth_result *r) {
  printf("Phantoms in %s\n", out);
  printf("  images       %12s\n", pn_text_count(r->images).s);
  printf("  with opacity %12s   %s boxes\n", pn_text_count(r->positives).s,
         pn_text_count(r->boxes).s);
  printf("  size         %12s   %s each\n", pn_text_bytes((double)r->bytes).s,
         pn_text_bytes((double)r->bytes / (double)r->images).s);
  printf("  time         %12s   %.1f images/s\n", pn_text_seconds(r->seconds).s, r->images_per_s);
  printf("Next: pneuma ingest %s SHARDS --size 128\n", out);
}

pn_status pn_cmd_synth(pn_cli *x) {
  pn_synth_config cfg = pn_synth_defaults();
  pn_synth_result r = {0};
  pn_status st;

  cfg.out = x->args[0];
  cfg.images = pn_options_int(x->opt, "synth.images");
  cfg.seed = (uint64_t)pn_options_int(x->opt, "synth.seed");
  cfg.positives = pn_options_float(x->opt, "synth.positives");
  cfg.normals = pn_options_float(x->opt, "synth.normals");
  cfg.contrast = pn_options_float(x->opt, "synth.contrast");
  cfg.quality = (int)pn_options_int(x->opt, "synth.quality");
  st = pn_agree(x->comm, pn_synth_run(&cfg, x->comm, &r));
  if (st != PN_OK) return st;
  if (pn_cli_speaks(x)) print(cfg.out, &r);
  x->result = result_json(cfg.out, &cfg, &r);
  return PN_OK;
}
