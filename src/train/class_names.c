/* class_names.c -- see class_names.h. */
#include "train/class_names.h"

#include <stdio.h>
#include <string.h>

static void add(char list[PN_CLASS_LIST_BYTES], const char *name) {
  size_t n = strlen(list);
  snprintf(list + n, PN_CLASS_LIST_BYTES - n, "%s%s", n ? "," : "", name);
}

bool pn_class_names_agree(const json_t *names, const pn_dataset *d, pn_class_lists *lists) {
  int n = pn_dataset_n_classes(d), trained = (int)json_array_size(names);
  bool same = trained == n;

  *lists = (pn_class_lists){"", ""};
  for (int i = 0; i < trained || i < n; i++) {
    const char *a = json_string_value(json_array_get(names, (size_t)i));
    const char *b = i < n ? pn_dataset_class_name(d, i) : NULL;
    if (a) add(lists->trained, a);
    if (b) add(lists->data, b);
    if (!a || !b || strcmp(a, b) != 0) same = false;
  }
  return same;
}
