/* groups.c -- patterns of names to factors of each parameter. */
#include "optim/groups.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEM_BYTES = 256 };

/* Some names, for messages. */
static void some_names(const pn_graph *g, char *out, size_t out_bytes) {
  int n = pn_graph_n_params(g);

  out[0] = '\0';
  for (int i = 0; i < n && i < 6; i++) {
    size_t used = strlen(out);
    snprintf(out + used, out_bytes - used, "%s%s", i ? ", " : "", pn_graph_param(g, i)->name);
  }
  if (n > 6) strncat(out, ", ...", out_bytes - strlen(out) - 1);
}

static pn_status no_match(const pn_graph *g, const char *option, const char *pattern) {
  char names[6 * PN_NAME_BYTES];

  some_names(g, names, sizeof names);
  return PN_FAIL(PN_ERR_ARG, "%s: '%s' matches no parameter of %s; there are %s", option, pattern,
                 pn_graph_name(g), names);
}

/* The next item of a list with commas; false at its end.  *st: an item that is too long. */
static bool next_item(const char **list, char item[ITEM_BYTES], pn_status *st) {
  size_t n;

  while (**list == ',' || **list == ' ') ++*list;
  if (!**list) return false;
  n = strcspn(*list, ",");
  *st = n < ITEM_BYTES ? PN_OK : PN_FAIL(PN_ERR_ARG, "pattern is too long: %.60s...", *list);
  if (*st != PN_OK) return false;
  memcpy(item, *list, n);
  item[n] = '\0';
  *list += n;
  return true;
}

static bool matches(const char *pattern, const char *name) {
  return fnmatch(pattern, name, 0) == 0;
}

pn_status pn_groups_select(const pn_graph *g, const char *option, const char *list, bool *marks) {
  char item[ITEM_BYTES];
  pn_status st = PN_OK;

  while (next_item(&list, item, &st)) {
    bool any = false;
    for (int i = 0; i < pn_graph_n_params(g); i++) {
      if (!matches(item, pn_graph_param(g, i)->name)) continue;
      marks[i] = any = true;
    }
    if (!any) return no_match(g, option, item);
  }
  return st;
}

static pn_status freeze(const pn_graph *g, const char *list, pn_group *out) {
  bool *marks = calloc((size_t)pn_graph_n_params(g) + 1, sizeof *marks);
  pn_status st = PN_OK;

  if (!marks) return PN_FAIL(PN_ERR_NOMEM, "parameter groups: out of memory");
  PN_TRY(pn_groups_select(g, "train.freeze", list, marks));
  for (int i = 0; i < pn_graph_n_params(g); i++) out[i].frozen = marks[i];
done:
  free(marks);
  return st;
}

/* "lr=0.1" or "decay=0" */
static pn_status set_factor(const char *item, const char *field, pn_group *to) {
  const char *value = strchr(field, '=');
  bool lr = strncmp(field, "lr=", 3) == 0, decay = strncmp(field, "decay=", 6) == 0;
  char *end = NULL;
  double x = value ? strtod(value + 1, &end) : -1;

  if ((!lr && !decay) || !end || end == value + 1 || *end || !(x >= 0 && x <= 1e6))
    return PN_FAIL(PN_ERR_ARG,
                   "optim.groups: '%s' in '%s': expected lr=FACTOR or decay=FACTOR, e.g. "
                   "fc*:lr=10:decay=0",
                   field, item);
  if (lr)
    to->lr = x;
  else
    to->decay = x;
  return PN_OK;
}

/* "fc*:lr=10:decay=0" for all parameters that no item before has taken. */
static pn_status apply_item(const pn_graph *g, const char *item, bool *taken, pn_group *out) {
  char text[ITEM_BYTES], *rest, *field;
  bool any = false;

  snprintf(text, sizeof text, "%s", item);
  field = strtok_r(text, ":", &rest);
  if (!strchr(item, '='))
    return PN_FAIL(PN_ERR_ARG,
                   "optim.groups: '%s' says nothing of its parameters: add lr=FACTOR or "
                   "decay=FACTOR, e.g. fc*:lr=10:decay=0",
                   item);
  for (int i = 0; field && i < pn_graph_n_params(g); i++) {
    char fields[ITEM_BYTES], *more, *f;
    if (!matches(field, pn_graph_param(g, i)->name)) continue;
    any = true;
    if (taken[i]) continue;
    taken[i] = true;
    snprintf(fields, sizeof fields, "%s", rest);
    for (f = strtok_r(fields, ":", &more); f; f = strtok_r(NULL, ":", &more)) {
      pn_status st = set_factor(item, f, &out[i]);
      if (st != PN_OK) return st;
    }
  }
  return any ? PN_OK : no_match(g, "optim.groups", item);
}

static pn_status apply_groups(const pn_graph *g, const char *list, pn_group *out) {
  bool *taken = calloc((size_t)pn_graph_n_params(g) + 1, sizeof *taken);
  char item[ITEM_BYTES];
  pn_status st = PN_OK;

  if (!taken) return PN_FAIL(PN_ERR_NOMEM, "parameter groups: out of memory");
  while (next_item(&list, item, &st)) PN_TRY(apply_item(g, item, taken, out));
done:
  free(taken);
  return st;
}

pn_status pn_groups_make(const pn_graph *g, const pn_group_config *c, pn_group *out) {
  int n = pn_graph_n_params(g), frozen = 0;
  pn_status st = PN_OK;

  for (int i = 0; i < n; i++) {
    bool weight = pn_graph_param(g, i)->decay;
    out[i] = (pn_group){.lr = 1, .decay = weight || c->decay_all ? 1 : 0, .adapt = weight};
  }
  PN_TRY(apply_groups(g, c->groups, out));
  PN_TRY(freeze(g, c->freeze, out));
  for (int i = 0; i < n; i++) frozen += out[i].frozen || !pn_graph_param(g, i)->trainable;
  if (frozen == n) st = PN_FAIL(PN_ERR_ARG, "train.freeze=%s leaves nothing to train", c->freeze);
done:
  return st;
}
