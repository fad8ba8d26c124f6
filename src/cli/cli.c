/* cli.c -- the command table and the one way through it: parse, agree, run, report. */
#include "cli/cli.h"

#include "base/fault.h"
#include "base/log.h"
#include "cli/args.h"
#include "cli/help.h"
#include "cli/report.h"

#include <errno.h>
#include <string.h>

enum { EXIT_MPI_START = 3, USAGE_WATCHDOG_S = 300 };

static const pn_command commands[] = {
    {"info", "[MODEL|CONFIG.yaml]", "this build and machine; a model's layers and plan",
     PN_CMD_INFO, PN_CMD_INFO | PN_CMD_TRAIN | PN_CMD_RUN | PN_CMD_STUDY, "train", 0, 1, true,
     pn_cmd_info},
    {"synth", "OUT", "draw phantom chest X-rays as DICOM files with labels", PN_CMD_SYNTH,
     PN_CMD_SYNTH, NULL, 1, 1, false, pn_cmd_synth},
    {"ingest", "IN OUT", "turn a folder of DICOM files into shards", PN_CMD_INGEST, PN_CMD_INGEST,
     NULL, 2, 2, false, pn_cmd_ingest},
    {"verify", "SHARDS", "re-read shards: does every byte fit its checksums and the index",
     PN_CMD_VERIFY, PN_CMD_VERIFY, NULL, 1, 1, false, pn_cmd_verify},
    {"train", "[CONFIG.yaml]", "train a model on shards", PN_CMD_TRAIN | PN_CMD_RUN,
     PN_CMD_TRAIN | PN_CMD_RUN, NULL, 0, 1, true, pn_cmd_train},
    {"preview", "[CONFIG.yaml]", "draw augmented training images as PNG (out.path, or preview.png)",
     PN_CMD_PREVIEW, PN_CMD_PREVIEW | PN_CMD_TRAIN | PN_CMD_RUN, "train", 0, 1, true,
     pn_cmd_preview},
    {"eval", "RUN", "evaluate the checkpoint of a run folder", PN_CMD_EVAL, PN_CMD_EVAL, NULL, 1, 1,
     false, pn_cmd_eval},
    {"predict", "RUN FILE...", "what the model of a run says of DICOM, PNG and JPEG files",
     PN_CMD_PREDICT, PN_CMD_PREDICT, NULL, 2, 1 << 30, false, pn_cmd_predict},
    {"study", "CONFIG.yaml", "run a table of trainings; speedup, efficiency, fits", PN_CMD_STUDY,
     PN_CMD_STUDY | PN_CMD_TRAIN, "train", 1, 1, true, pn_cmd_study},
    {"bench", "comm|roofline|train", "measure collectives; a training step by its parts; its speed",
     PN_CMD_BENCH, PN_CMD_BENCH | PN_CMD_INFO | PN_CMD_TRAIN, "info", 1, 1, false, pn_cmd_bench},
    {"help", "[COMMAND|man]", "help of a command; the manual page in roff", 0, 0, NULL, 0, 1, false,
     pn_cmd_help},
};

const pn_command *pn_command_table(int *count) {
  *count = (int)(sizeof commands / sizeof *commands);
  return commands;
}

const pn_command *pn_command_find(const char *name) {
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

bool pn_cli_speaks(const pn_cli *x) {
  return pn_comm_rank(x->comm) == 0 && !x->json;
}

static bool is_config(const char *name) {
  const char *dot = strrchr(name, '.');
  return dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* Options from the file, then from the command line, which wins.  Not collective. */
static pn_status read_options(const pn_args *a, pn_options **out) {
  pn_status st = PN_OK;
  const pn_command *c = a->command;
  pn_options *o = NULL;

  PN_TRY(pn_options_create(c->accepts, &o));
  if (c->config && a->n_args > 0) {
    if (is_config(a->args[0]))
      PN_TRY(pn_options_load_yaml(o, a->args[0]));
    else if (c->run != pn_cmd_info)
      PN_TRY(PN_FAIL(PN_ERR_ARG, "%s: expected a file that ends in .yaml or .yml", a->args[0]));
  }
  for (int i = 0; i < a->n_sets; i++)
    PN_TRY(pn_options_set(o, a->set[i].key, a->set[i].value, "command line"));
  *out = o;
  o = NULL;
done:
  pn_options_destroy(o);
  return st;
}

/* All that needs no communication; the same on all ranks but for what they read from files. */
static pn_status prepare(int argc, char **argv, pn_args *a, pn_options **opt) {
  pn_status st = pn_args_parse(argc, argv, a);
  if (st != PN_OK || a->help || a->version) return st;
  if (!a->command) return PN_FAIL(PN_ERR_ARG, "no command given; `pneuma --help` lists them");
  return read_options(a, opt);
}

static pn_status print_result(pn_cli *x) {
  pn_status st = PN_OK;
  if (pn_comm_rank(x->comm) == 0) {
    if (x->json && x->result) {
      json_dumpf(x->result, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
      fputc('\n', stdout);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
      st = PN_FAIL(PN_ERR_IO, "cannot write to standard output: %s", strerror(errno));
  }
  return pn_agree(x->comm, st);
}

static pn_status run_command(const pn_args *a, pn_cli *x) {
  pn_status st;
  if (a->help || a->version) {
    if (pn_comm_rank(x->comm) == 0 && a->version) pn_help_version(stdout);
    if (pn_comm_rank(x->comm) == 0 && !a->version) pn_help_print(a->command, stdout);
    return print_result(x);
  }
  st = a->command->run(x);
  return st == PN_OK ? print_result(x) : st;
}

int pn_cli_main(int argc, char **argv) {
  pn_args a;
  pn_cli x = {0};
  int rc = 0;
  pn_status st = prepare(argc, argv, &a, &x.opt);
  double watchdog_s = x.opt ? pn_options_float(x.opt, "run.watchdog_s") : USAGE_WATCHDOG_S;

  if (pn_comm_world(watchdog_s, &x.comm) != PN_OK) {
    pn_report_error(NULL, PN_ERR_COMM, a.json, NULL);
    rc = EXIT_MPI_START;
    goto done;
  }
  pn_log_init(pn_comm_rank(x.comm), a.quiet);
  x.n_args = a.n_args;
  x.args = a.args;
  x.json = a.json;
  x.quiet = a.quiet;
  if (st == PN_OK) st = pn_fault_setup(pn_comm_rank(x.comm), pn_comm_size(x.comm));
  st = pn_agree(x.comm, st);
  if (st == PN_OK) st = run_command(&a, &x);
  if (st != PN_OK) rc = pn_report_error(x.comm, st, a.json, x.result);
done:
  json_decref(x.result);
  pn_options_destroy(x.opt);
  pn_args_free(&a);
  pn_comm_destroy(x.comm);
  return rc;
}
