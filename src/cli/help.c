/* help.c -- `pneuma --help`, `pneuma COMMAND --help`, `pneuma help`. */
#include "cli/help.h"

#include "cli/option_value.h"
#include "pn_version.h"

#include <string.h>

enum { TEXT_BYTES = 640, RANGE_WIDTH = 24 };

void pn_help_version(FILE *f) {
  fprintf(f, "pneuma %s (%s)\n", PN_VERSION, PN_COMMIT);
}

static void print_program(FILE *f) {
  int n;
  const pn_command *c = pn_command_table(&n);

  fprintf(f, "pneuma %s: chest X-ray models on many cores, and how well that scaled\n\n",
          PN_VERSION);
  fprintf(f, "Usage: pneuma COMMAND [ARGUMENT...] [key=value...]\n"
             "       mpirun -n 4 pneuma COMMAND ...\n\nCommands\n");
  for (int i = 0; i < n; i++) fprintf(f, "  %-7s %-20s %s\n", c[i].name, c[i].args, c[i].help);
  fprintf(
      f,
      "\nOptions of every command\n"
      "  key=value     set an option; --key value and --key=value do the same, and the part\n"
      "                before the last dot may be left out: --batch 64 for train.batch=64\n"
      "  --json        print the result as one JSON object on stdout, also on failure\n"
      "  -q, --quiet   no progress and notes, only results, warnings and errors\n"
      "  -h, --help    this text, or with a command its arguments and options\n"
      "  -V, --version\n"
      "\nFrom nothing to a trained model\n"
      "  pneuma synth data/phantom --images 400\n"
      "  mpirun -n 2 pneuma ingest data/phantom data/phantom128 --size 128\n"
      "  mpirun -n 2 pneuma train data.path=data/phantom128 train.epochs=5 out.path=results/one\n"
      "  pneuma eval results/one\n"
      "\nExit codes: 0 done, 1 failed, 2 usage or configuration, 3 MPI start, 4 watchdog,\n"
      "  75 stopped by a signal; the same command goes on\n");
}

/* Widest range that still leaves the columns in line; wider ones push their own line only. */
static void print_option(const pn_option *row, int key_width, FILE *f) {
  char range[TEXT_BYTES];
  const char *dflt = *row->dflt ? row->dflt : "-";

  pn_option_range(row, range, sizeof range);
  fprintf(f, "  %-*s  %-10s  %-*s  %s%s%s%s\n", key_width, row->key, dflt, RANGE_WIDTH, range,
          row->help, *row->unit ? " [" : "", row->unit, *row->unit ? "]" : "");
}

static void print_options(unsigned bits, FILE *f) {
  int rows, width = 0;
  const pn_option *row = pn_option_table(&rows);

  for (int i = 0; i < rows; i++)
    if ((row[i].commands & bits) && (int)strlen(row[i].key) > width)
      width = (int)strlen(row[i].key);
  fprintf(f, "  %-*s  %-10s  %-*s  %s\n", width, "key", "default", RANGE_WIDTH, "range",
          "meaning [unit]");
  for (int i = 0; i < rows; i++)
    if (row[i].commands & bits) print_option(&row[i], width, f);
}

void pn_help_print(const pn_command *c, FILE *f) {
  if (!c) {
    print_program(f);
    return;
  }
  fprintf(f, "pneuma %s: %s\n\nUsage: pneuma %s %s%s\n", c->name, c->help, c->name, c->args,
          c->own ? " [key=value...] [--json] [--quiet]" : "");
  if (c->own) {
    fprintf(f, "\nOptions\n");
    print_options(c->own, f);
  }
  if (c->also)
    fprintf(f, "\nIt takes the options of `pneuma %s` too: see `pneuma help %s`.\n", c->also,
            c->also);
}

pn_status pn_cmd_help(pn_cli *x) {
  const pn_command *c = x->n_args ? pn_command_find(x->args[0]) : NULL;
  pn_status st = PN_OK;

  if (x->n_args && !c && strcmp(x->args[0], "man") != 0)
    st = PN_FAIL(PN_ERR_ARG, "no help on '%s'; `pneuma --help` lists the commands", x->args[0]);
  else if (pn_comm_rank(x->comm) == 0 && x->n_args && !c)
    pn_help_man(stdout);
  else if (pn_comm_rank(x->comm) == 0)
    pn_help_print(c, stdout);
  return pn_agree(x->comm, st);
}
