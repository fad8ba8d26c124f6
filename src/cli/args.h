/* args.h -- the command line taken apart: command, arguments, key=value, flags; in any order. */
#ifndef PN_CLI_ARGS_H
#define PN_CLI_ARGS_H

#include "cli/cli.h"

typedef struct {
  bool json, quiet, help, version;
  const pn_command *command; /* NULL: none was named */
  int n_args, n_sets;
  const char **args; /* [n_args], owned array of borrowed strings */
  struct pn_setting {
    char key[64];
    const char *value; /* borrowed */
  } * set;             /* [n_sets], owned, in the order given */
} pn_args;

/* Flags are filled even when it fails.  `--name value` and `--name=value` mean the option of the
 * command whose key is `name` or ends in `.name`; for `--data`, `data.path` and for `--model`,
 * `model.name`.  After `--` everything is an argument.
 * Errors: ARG (unknown command or option, names the nearest; number of arguments), NOMEM. */
pn_status pn_args_parse(int argc, char **argv, pn_args *out);
void pn_args_free(pn_args *a);

#endif
