/* cmd_train.c -- `pneuma train [CONFIG.yaml]`: one run on all ranks. */
#include "base/log.h"
#include "base/signals.h"
#include "cli/cli.h"
#include "cli/metrics_print.h"
#include "cli/train_setup.h"
#include "cli/units.h"
#include "cli/weights_setup.h"
#include "report/machine.h"
#include "report/run_plots.h"

#include <errno.h>
#include <string.h>

enum { PATH_BYTES = PN_OUT_PATH_BYTES, LABEL = 12 };

static void print_header(const pn_cli *x, const pn_train_config *c, const pn_dataset *d) {
  int ranks = pn_comm_size(x->comm);
  bool scaled = strcmp(c->lr_scale, "none") != 0;
  const char *rule = c->batch_global ? " over all ranks" : " on each rank";

  pn_info("%-*s %s, %lld x %lld x %lld", LABEL, "model", c->model,
          (long long)c->model_config.size[0], (long long)c->model_config.size[1],
          (long long)c->model_config.channels);
  pn_info("%-*s %s: train %s, val %s, test %s images, %d classes", LABEL, "data",
          pn_options_text(x->opt, "data.path"), pn_text_count(pn_dataset_count(d, PN_TRAIN)).s,
          pn_text_count(pn_dataset_count(d, PN_VAL)).s,
          pn_text_count(pn_dataset_count(d, PN_TEST)).s, pn_dataset_n_classes(d));
  pn_info("%-*s %s on %d rank%s with %d thread%s each, device %s, %s", LABEL, "strategy",
          c->strategy, ranks, ranks == 1 ? "" : "s", c->threads, c->threads == 1 ? "" : "s",
          c->device, c->precision);
  pn_info("%-*s %lld images per step%s, %s with learning rate %g%s, schedule %s", LABEL, "batch",
          (long long)c->batch, ranks > 1 ? rule : "", c->optim.name, c->optim.lr,
          scaled ? "" : " (not scaled with the images per step)", c->schedule.name);
  pn_info("%-*s %s", LABEL, "results in", c->out_path);
  pn_info("options");
  if (pn_comm_rank(x->comm) == 0 && !x->quiet) pn_options_print(x->opt, stderr);
}

static void print_phases(const pn_train_result *r) {
  const struct {
    const char *name;
    double ms;
  } phases[] = {{"data", r->data_ms},
                {"forward", r->forward_ms},
                {"backward", r->backward_ms},
                {"communication, exposed", r->comm_exposed_ms},
                {"  of it for a late rank", r->comm_late_ms},
                {"communication, hidden", r->comm_hidden_ms},
                {"update", r->update_ms}};

  printf("\nPhases (median over steps, slowest rank)\n");
  for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
    printf("  %-24s %10s\n", phases[i].name, pn_text_ms(phases[i].ms).s);
}

static void print_memory(const pn_train_result *r) {
  const struct {
    const char *name;
    size_t bytes;
  } parts[] = {{"parameters", r->bytes_parameters}, {"gradients", r->bytes_gradients},
               {"optimizer state", r->bytes_state}, {"activations", r->bytes_activations},
               {"workspace", r->bytes_workspace},   {"peak of the process", r->peak_rss}};

  printf("\nMemory (largest rank)\n");
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    printf("  %-24s %10s\n", parts[i].name, pn_text_bytes((double)parts[i].bytes).s);
}

/* Fewer than six values carry no 95 % interval of their median. */
static void print_step_time(const pn_train_result *r) {
  const pn_step_time *t = &r->step_ms;

  printf("step %s (%s %s to %s, p95 %s, %lld steps after warm-up), %.1f images/s\n\n",
         pn_text_ms(t->median).s, t->n < 6 ? "range" : "95 % interval", pn_text_ms(t->ci95[0]).s,
         pn_text_ms(t->ci95[1]).s, pn_text_ms(t->p95).s, (long long)t->n, r->images_per_s);
}

/* *names: of the files drawn, for the list that ends the report. */
static pn_status plots(const pn_cli *x, const pn_train_config *c, const pn_train_result *r,
                       const char **names) {
  bool drawn = false;
  pn_status st;

  *names = "";
  if (pn_comm_rank(x->comm) != 0 || !pn_options_bool(x->opt, "out.plots")) return PN_OK;
  st = pn_run_plots_write(c->out_path, r->record, &drawn);
  if (st == PN_OK && !drawn)
    pn_info("no gnuplot: plots are scripts only; gnuplot %s/curves.gp", c->out_path);
  *names = drawn ? "curves.svg, confusion.svg, " : "";
  return st;
}

static pn_status print_result(const pn_train_config *c, const pn_train_result *r,
                              const pn_dataset *d, const char *drawn) {
  pn_status st = PN_OK;

  printf("%s, %s parameters: %s steps of %s images in %s\n", c->model,
         pn_text_count(r->parameters).s, pn_text_count(r->steps).s,
         pn_text_count(r->global_batch).s, pn_text_seconds(r->seconds).s);
  print_step_time(r);
  if (r->test.n > 0)
    PN_TRY(pn_metrics_print("Test", &r->test, d));
  else if (r->val.n > 0)
    PN_TRY(pn_metrics_print("Validation", &r->val, d));
  else
    printf("Not evaluated (train.validate=false, or no such images); last loss %.4f\n",
           r->final_loss);
  print_phases(r);
  print_memory(r);
  printf("\nweights SHA-256 %s\n", r->weights_sha256);
  printf(
      "Files: %s/run.json, epochs.csv, steps.csv, log.txt, %sevents.out.tfevents.*, checkpoints/\n",
      c->out_path, drawn);
  printf("Next: pneuma eval %s\n", c->out_path);
done:
  return st;
}

static pn_status train(pn_cli *x, pn_dataset *d, pn_train_config *cfg) {
  pn_train_result r = {0};
  const char *drawn;
  pn_status st = PN_OK;

  if (pn_comm_rank(x->comm) == 0) print_header(x, cfg, d);
  PN_TRY(pn_train(cfg, x->comm, d, &r));
  st = plots(x, cfg, &r, &drawn);
  if (st == PN_OK && pn_cli_speaks(x)) st = print_result(cfg, &r, d, drawn);
  PN_TRY(pn_agree(x->comm, st));
  x->result = json_incref(r.record);
done:
  pn_train_result_free(&r);
  return st;
}

/* RUN/log.txt; the options are in run.json. */
static pn_status open_log(const pn_cli *x, const char *folder) {
  char path[PATH_BYTES + 16];

  if (pn_comm_rank(x->comm) != 0) return PN_OK;
  snprintf(path, sizeof path, "%s/log.txt", folder);
  if (pn_log_file(path)) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

pn_status pn_cmd_train(pn_cli *x) {
  pn_out_folder out = {.lock = {.fd = -1}};
  pn_train_config cfg = {0};
  pn_dataset *d = NULL;
  pn_place_map places = {0};
  pn_weights_setup weights = {0};
  json_t *options = NULL, *versions = pn_versions_json(), *machine = NULL;
  int threads = 1;
  pn_status st = PN_OK;

  PN_TRY(pn_agree(x->comm, pn_resume_options(x->opt)));
  PN_TRY(pn_agree(x->comm, pn_effects_check(x->opt, NULL)));
  PN_TRY(pn_data_open(x->opt, x->comm, &d));
  PN_TRY(pn_agree(x->comm, pn_train_setup(x->opt, d, pn_comm_size(x->comm), &cfg)));
  PN_TRY(pn_place_setup(x->opt, x->comm, &places, &threads));
  PN_TRY(pn_out_setup(x->opt, cfg.model, "training", x->comm, &out));
  PN_TRY(pn_agree(x->comm, open_log(x, out.path)));
  PN_TRY(pn_machine_json(x->comm, &machine));
  options = pn_options_json(x->opt);
  cfg.threads = threads;
  cfg.out_path = out.path;
  cfg.lock = &out.lock;
  cfg.options = options;
  cfg.heed_signals = true;
  pn_signals_watch();
  cfg.versions = versions;
  cfg.machine = machine;
  cfg.weights = pn_weights_prepare(x->opt, d, &weights);
  PN_TRY(train(x, d, &cfg));
done:
  if (st != PN_OK) pn_log_note("failed: %s", pn_last_error());
  pn_log_file(NULL);
  pn_weights_release(&weights);
  pn_out_release(&out);
  pn_place_free(&places);
  pn_dataset_close(d);
  json_decref(options);
  json_decref(versions);
  json_decref(machine);
  return st;
}
