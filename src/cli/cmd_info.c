/* cmd_info.c -- `pneuma info [MODEL|CONFIG.yaml]`: this build, this machine, a model's plan. */
#include "cli/cli.h"
#include "cli/info.h"
#include "cli/train_setup.h"

#include <string.h>

/* Options about the machine alone leave the model out. */
static bool asks_for_model(const pn_cli *x) {
  int n;
  const pn_option *row = pn_option_table(&n);

  if (x->n_args > 0) return true;
  for (int i = 0; i < n; i++)
    if (strncmp(row[i].key, "run.", 4) != 0 && strcmp(row[i].key, "train.threads") != 0 &&
        pn_options_given(x->opt, row[i].key))
      return true;
  return false;
}

/* A MODEL argument is model.name; a CONFIG.yaml has been read already. */
static pn_status take_model(const pn_cli *x) {
  const char *arg = x->n_args ? x->args[0] : NULL, *dot = arg ? strrchr(arg, '.') : NULL;

  if (!arg || (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0))) return PN_OK;
  if (strpbrk(arg, "./"))
    return PN_FAIL(PN_ERR_ARG, "%s: expected a model, or a file that ends in .yaml or .yml", arg);
  return pn_options_set(x->opt, "model.name", arg, "command line");
}

/* On rank 0 alone. */
static pn_status show(pn_cli *x, const pn_place_map *places, bool with_model) {
  pn_status st = PN_OK;
  pn_info_model *m = NULL;
  pn_device *d = NULL;
  const char *name = pn_options_text(x->opt, "train.device");
  const char *backend = pn_comm_backend(x->comm);

  if (with_model) {
    PN_TRY(pn_device_create(name, places->rank[0].threads, &d));
    PN_TRY(pn_info_model_create(x->opt, places->size, d, &m));
  }
  if (x->json) {
    x->result = json_object();
    if (m) pn_info_model_json(m, x->result);
    pn_info_machine_json(places, backend, x->result);
    goto done;
  }
  pn_info_machine_print(places, backend);
  if (m) PN_TRY(pn_info_model_print(m));
done:
  pn_info_model_destroy(m);
  return st;
}

pn_status pn_cmd_info(pn_cli *x) {
  pn_place_map places = {0};
  bool with_model = asks_for_model(x);
  pn_status st = PN_OK;

  PN_TRY(pn_agree(x->comm, take_model(x)));
  PN_TRY(pn_place_take(x->comm, pn_options_text(x->opt, "run.place"),
                       (int)pn_options_int(x->opt, "train.threads"), &places));
  if (pn_comm_rank(x->comm) == 0) st = show(x, &places, with_model);
  PN_TRY(pn_agree(x->comm, st));
done:
  pn_place_free(&places);
  return st;
}
