/* labels_groups.c -- true patients of the RSNA images: the published mapping to NIH names. */
#include "data/labels.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 8, GROUP_BYTES = 16 }; /* "nih00012345" */

/* A label of our own array, so that casting const away is right. */
static pn_label *own_label(pn_labels *l, const char *id) {
  return (pn_label *)(uintptr_t)pn_labels_find(l, id);
}

static pn_status map_one(const char *name, int64_t i, const json_t *record, pn_labels *l,
                         int64_t *mapped) {
  const char *id = json_string_value(json_object_get(record, "subset_img_id"));
  const char *nih = json_string_value(json_object_get(record, "img_id"));
  pn_label *label;
  char *text;

  if (!id || !nih || strspn(nih, "0123456789") != DIGITS)
    return PN_FAIL(PN_ERR_FORMAT,
                   "%s: record %lld: expected {\"subset_img_id\": RSNA id, \"img_id\": "
                   "\"00012345_003.png\"}",
                   name, (long long)i + 1);
  if (!(label = own_label(l, id)) || label->group) return PN_OK; /* not among our labels; twice */
  text = l->groups + GROUP_BYTES * (label - l->label);
  snprintf(text, GROUP_BYTES, "nih%.*s", DIGITS, nih);
  label->group = text;
  ++*mapped;
  return PN_OK;
}

pn_status pn_labels_map_groups(pn_csv_text file, pn_labels *l, int64_t *mapped) {
  json_error_t error;
  json_t *list = json_loadb(file.text, file.bytes, 0, &error);
  pn_status st = PN_OK;

  *mapped = 0;
  if (!list)
    return PN_FAIL(PN_ERR_FORMAT, "%s:%d: not JSON: %s", file.name, error.line, error.text);
  if (!json_is_array(list))
    PN_TRY(PN_FAIL(PN_ERR_FORMAT, "%s: expected a list of records with subset_img_id and img_id",
                   file.name));
  if (!(l->groups = calloc((size_t)l->n + 1, GROUP_BYTES)))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", file.name));
  for (size_t i = 0; i < json_array_size(list); i++)
    PN_TRY(map_one(file.name, (int64_t)i, json_array_get(list, i), l, mapped));
done:
  json_decref(list);
  return st;
}
