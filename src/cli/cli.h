/* cli.h -- commands are rows of a table in cli.c; each cmd_<verb>.c parses, builds, calls, reports.
 */
#ifndef PN_CLI_CLI_H
#define PN_CLI_CLI_H

#include "cli/options.h"
#include "comm/comm.h"

/* What a command gets: positional arguments and options already parsed, checked and agreed upon. */
typedef struct {
  pn_comm *comm; /* world; borrowed */
  int n_args;
  const char *const *args; /* positional; borrowed */
  pn_options *opt;         /* borrowed */
  bool json, quiet;
  json_t *result; /* command sets it (new reference); printed as the one JSON object with --json */
} pn_cli;

int pn_cli_main(int argc, char **argv); /* returns the exit code */

/* This rank prints results for people on stdout: rank 0, without --json. */
bool pn_cli_speaks(const pn_cli *x);

/* Commands are collective; errors they return are agreed upon (pn_agree). */
typedef struct {
  const char *name, *args, *help;
  unsigned own;     /* option bits listed by its help */
  unsigned accepts; /* option bits it takes, own ones included */
  const char *also; /* the command whose options it takes too; NULL = none */
  int min_args, max_args;
  bool config; /* argument 0, if it ends in .yaml or .yml, is read before it runs */
  pn_status (*run)(pn_cli *x);
} pn_command;
const pn_command *pn_command_table(int *count);
const pn_command *pn_command_find(const char *name); /* NULL: there is none */

pn_status pn_cmd_info(pn_cli *x);
pn_status pn_cmd_synth(pn_cli *x);
pn_status pn_cmd_ingest(pn_cli *x);
pn_status pn_cmd_verify(pn_cli *x);
pn_status pn_cmd_train(pn_cli *x);
pn_status pn_cmd_preview(pn_cli *x);
pn_status pn_cmd_eval(pn_cli *x);
pn_status pn_cmd_predict(pn_cli *x);
pn_status pn_cmd_study(pn_cli *x);
pn_status pn_cmd_bench(pn_cli *x);
pn_status pn_cmd_help(pn_cli *x);

/* cli/versions.c: versions of everything linked, for run.json and `info`. New reference. */
json_t *pn_versions_json(
    void); /* {"pneuma":..., "mpi":..., "onednn":..., "hdf5":..., "dcmtk":..., "compiler":...} */

#endif
