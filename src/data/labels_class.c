/* labels_class.c -- names of classes: found in any letter case, then put in a fixed order. */
#include "data/labels.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A comma would cut the list of names in the shards; control bytes have no place in a name. */
static void clean_name(const char *in, char out[PN_CLASS_BYTES]) {
  size_t n = strlen(in);

  memcpy(out, in, n + 1);
  for (size_t i = 0; i < n; i++)
    if (out[i] == ',' || iscntrl((unsigned char)out[i])) out[i] = '_';
}

pn_status pn_labels_class(pn_labels *l, const char *name, const char *where, int *target) {
  char clean[PN_CLASS_BYTES];

  if (!name[0] || strlen(name) >= PN_CLASS_BYTES)
    return PN_FAIL(PN_ERR_FORMAT, "%s: '%.60s' is no name of a class: expected 1 to %d bytes",
                   where, name, PN_CLASS_BYTES - 1);
  clean_name(name, clean);
  for (*target = 0; *target < l->n_classes; ++*target)
    if (strcasecmp(l->class_name[*target], clean) == 0) {
      if (strcmp(clean, l->class_name[*target]) < 0) /* whichever comes first: the same spelling */
        memcpy(l->class_name[*target], clean, sizeof clean);
      return PN_OK;
    }
  if (l->n_classes == PN_MAX_CLASSES)
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s: '%.60s' would be class number %d, at most %d: is this the right column or "
                   "folder?",
                   where, name, PN_MAX_CLASSES + 1, PN_MAX_CLASSES);
  memcpy(l->class_name[l->n_classes++], clean, sizeof clean);
  return PN_OK;
}

static bool is_negative(const char *name) {
  static const char *const words[] = {"normal", "negative", "healthy", "none", "control", "0"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasecmp(name, words[i]) == 0) return true;
  return strncasecmp(name, "no ", 3) == 0 || strncasecmp(name, "no_", 3) == 0 ||
         strncasecmp(name, "non", 3) == 0;
}

/* Place of each class among n: to[old] = new. */
static void sort_names(const pn_labels *l, int *to) {
  for (int i = 0; i < l->n_classes; i++) {
    to[i] = 0;
    for (int k = 0; k < l->n_classes; k++)
      to[i] += strcasecmp(l->class_name[k], l->class_name[i]) < 0;
  }
  if (l->n_classes != 2) return;
  for (int i = 0; i < 2; i++)
    if (is_negative(l->class_name[i]) && !is_negative(l->class_name[1 - i])) {
      to[i] = 0;
      to[1 - i] = 1;
      return;
    }
}

static pn_status unknown_class(const pn_labels *l, const char *name, int length) {
  char list[512] = "";
  for (int i = 0; i < l->n_classes && strlen(list) < sizeof list - PN_CLASS_BYTES - 2; i++)
    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
             l->class_name[i]);
  return PN_FAIL(PN_ERR_ARG, "ingest.only: no class '%.*s'; there are: %s", length, name, list);
}

/* to[] by a list of wanted names; -1 for the others. */
static pn_status choose_names(const pn_labels *l, const char *only, int *to, int *n) {
  for (int i = 0; i < l->n_classes; i++) to[i] = -1;
  for (*n = 0; *only; only += strcspn(only, ",")) {
    int length, i;
    only += strspn(only, ", ");
    length = (int)strcspn(only, ",");
    if (length == 0) break;
    for (i = 0; i < l->n_classes; i++)
      if (strncasecmp(l->class_name[i], only, (size_t)length) == 0 && !l->class_name[i][length])
        break;
    if (i == l->n_classes) return unknown_class(l, only, length);
    if (to[i] >= 0)
      return PN_FAIL(PN_ERR_ARG, "ingest.only: class '%.*s' is there twice", length, only);
    to[i] = (*n)++;
  }
  return PN_OK;
}

pn_status pn_labels_order(pn_labels *l, const char *only) {
  char(*old)[PN_CLASS_BYTES] = malloc(sizeof l->class_name);
  int to[PN_MAX_CLASSES], n = l->n_classes;
  pn_status st = PN_OK;

  if (!old) return PN_FAIL(PN_ERR_NOMEM, "classes: out of memory");
  memcpy(old, l->class_name, sizeof l->class_name);
  if (only[0])
    st = choose_names(l, only, to, &n);
  else
    sort_names(l, to);
  if (st == PN_OK) {
    memset(l->class_name, 0, sizeof l->class_name);
    for (int i = 0; i < l->n_classes; i++)
      if (to[i] >= 0) memcpy(l->class_name[to[i]], old[i], PN_CLASS_BYTES);
    l->n_classes = n;
    for (int64_t i = 0; i < l->n; i++)
      if (l->label[i].target >= 0) l->label[i].target = to[l->label[i].target];
  }
  free(old);
  return st;
}
