/* cmd_bench.c -- `pneuma bench WHAT`: measurements of the program's parts. */
#include "cli/bench.h"
#include "cli/train_setup.h"
#include "train/rank_device.h"

#include <stdio.h>
#include <string.h>

/* What an update needs; groups, clipping, scaling of the rate and averages are a run's. */
#define UPDATE                                                                                     \
  "optim.name optim.lr optim.momentum optim.nesterov optim.beta1 optim.beta2 optim.eps "           \
  "optim.weight_decay optim.trust "

static const struct bench {
  const char *name;
  pn_status (*run)(pn_cli *x);
  const char *takes; /* options, or how they begin, each ended by a blank */
} benches[] = {
    {"comm", pn_bench_comm, "bench.from_kb bench.to_mb bench.row_s train.comm run.watchdog_s "},
    {"roofline", pn_bench_roofline,
     "model. " UPDATE
     "data.path train.batch train.device train.threads train.precision bench.steps "
     "run.watchdog_s "},
    {"train", pn_bench_train,
     "model. " UPDATE "data.path train.batch train.batch_rule train.device device.share "
     "device.tf32 device.deterministic train.threads train.precision train.loss_scale "
     "train.strategy train.bucket_mb train.reshard train.comm "
     "bench.steps "
     "run.watchdog_s "}};
enum { N_BENCHES = sizeof benches / sizeof *benches };

static bool takes(const struct bench *b, const char *key) {
  for (const char *p = b->takes, *end; (end = strchr(p, ' ')); p = end + 1) {
    size_t n = (size_t)(end - p);
    if (strncmp(p, key, n) == 0 && (p[n - 1] == '.' || key[n] == '\0')) return true;
  }
  return false;
}

/* An option that would have no effect is an error. */
static pn_status check_options(const struct bench *b, const pn_options *o) {
  int n;
  const pn_option *row = pn_option_table(&n);

  for (int i = 0; i < n; i++)
    if (pn_options_given(o, row[i].key) && !takes(b, row[i].key))
      return PN_FAIL(PN_ERR_ARG, "%s has no effect on bench %s; it takes %s", row[i].key, b->name,
                     b->takes);
  return pn_effects_check(o, NULL);
}

const char *pn_bench_library(const pn_info_model *m) {
  pn_device *d = pn_info_model_device(m);
  return d->ops->describe ? d->ops->describe(d) : pn_device_library();
}

const char *pn_bench_isa(const pn_info_model *m) {
  return pn_info_model_device(m)->ops->far ? "" : pn_device_isa();
}

pn_status pn_bench_model(pn_cli *x, int threads, pn_info_model **out) {
  pn_device_spec spec = {.name = pn_options_text(x->opt, "train.device"),
                         .threads = threads,
                         .tf32 = pn_options_bool(x->opt, "device.tf32"),
                         .loose = !pn_options_bool(x->opt, "device.deterministic")};
  pn_device *d = NULL;
  pn_status st;

  *out = NULL;
  PN_TRY(pn_rank_device(x->comm, &spec, pn_options_bool(x->opt, "device.share"), &d));
  PN_TRY(pn_agree(x->comm, pn_info_model_create(x->opt, pn_comm_size(x->comm), d, out)));
done:
  return st;
}

pn_status pn_cmd_bench(pn_cli *x) {
  char names[128] = "";
  pn_status st;

  for (int i = 0; i < N_BENCHES; i++) {
    size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", benches[i].name);
    if (strcmp(x->args[0], benches[i].name) != 0) continue;
    st = pn_agree(x->comm, check_options(&benches[i], x->opt));
    return st == PN_OK ? benches[i].run(x) : st;
  }
  return pn_agree(x->comm, PN_FAIL(PN_ERR_ARG, "bench %s: expected %s", x->args[0], names));
}
