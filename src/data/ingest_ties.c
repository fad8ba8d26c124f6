/* ingest_ties.c -- does something beside the pixels tell the class?  Where classes come from
 * different sources (hospitals, devices, web pages), a network may learn the source. */
#include "data/ingest_ties.h"

#include "base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_IMAGES = 10, MOST_LOOKED_AT = 100000 };

static uint64_t size_of(const pn_ingest_record *r) {
  return (uint64_t)(uint32_t)r->height << 32 | (uint32_t)r->width;
}

static uint64_t shape_of(const pn_ingest_record *r) {
  return r->height == r->width ? 0 : r->height > r->width ? 1 : 2;
}

static uint64_t view_of(const pn_ingest_record *r) {
  uint64_t view = 0;
  memcpy(&view, r->view, sizeof r->view < sizeof view ? sizeof r->view : sizeof view);
  return view;
}

static uint64_t sex_of(const pn_ingest_record *r) {
  return r->sex;
}

static uint64_t has_age(const pn_ingest_record *r) {
  return r->age >= 0;
}

static const struct trait {
  const char *name;
  uint64_t (*value)(const pn_ingest_record *r);
} traits[] = {{"size of the source image", size_of},
              {"shape of the source image", shape_of},
              {"view", view_of},
              {"sex", sex_of},
              {"whether an age is given", has_age}};
enum { N_TRAITS = sizeof traits / sizeof *traits };

struct image {
  uint64_t value;
  int label;
};

static int by_value(const void *a, const void *b) {
  const struct image *x = a, *y = b;
  return (x->value > y->value) - (x->value < y->value);
}

/* An image of the class is told from one of another class by where its value is more frequent, the
 * image itself left out; a value that no other image has says "another class". */
static void guess(const int64_t here[2], const int64_t all[2], double right[2]) {
  for (int mine = 0; mine < 2; mine++) {
    int64_t n[2] = {here[0] - (mine == 0), here[1] - (mine == 1)};
    int64_t of[2] = {all[0] - (mine == 0), all[1] - (mine == 1)};
    bool in_class = (double)n[1] * (double)of[0] > (double)n[0] * (double)of[1];
    if (in_class == (mine == 1)) right[mine] += (double)here[mine] / (double)all[mine];
  }
}

/* Mean of the shares of right guesses in the class and outside of it. */
static double balanced_accuracy(const struct image *image, int64_t n, int label) {
  int64_t all[2] = {0};
  double right[2] = {0};

  for (int64_t i = 0; i < n; i++) all[image[i].label == label]++;
  if (all[0] < LEAST_IMAGES || all[1] < LEAST_IMAGES) return 0;
  for (int64_t i = 0, k; i < n; i = k) {
    int64_t here[2] = {0};
    for (k = i; k < n && image[k].value == image[i].value; k++) here[image[k].label == label]++;
    guess(here, all, right);
  }
  return (right[0] + right[1]) / 2;
}

static int64_t look_at(const pn_ingest *x, const struct trait *t, struct image *image) {
  const pn_ingest_record *r = x->records.data;
  int64_t every = x->records.n / MOST_LOOKED_AT + 1, n = 0;

  for (int64_t i = 0; i < x->records.n; i += every)
    if (r[i].split >= 0) image[n++] = (struct image){t->value(&r[i]), r[i].label};
  if (n > 1) qsort(image, (size_t)n, sizeof *image, by_value);
  return n;
}

pn_status pn_ingest_find_ties(const pn_ingest *x, pn_tie *tie) {
  int classes = x->source.labels.n_classes;
  struct image *image = malloc((MOST_LOOKED_AT + 1) * sizeof *image);

  if (!image) return PN_FAIL(PN_ERR_NOMEM, "ingest: out of memory");
  for (int c = 0; c < classes; c++) tie[c] = (pn_tie){.by = NULL};
  for (int t = 0; t < N_TRAITS; t++) {
    int64_t n = look_at(x, &traits[t], image);
    for (int c = 0; c < classes; c++) {
      double accuracy = balanced_accuracy(image, n, c);
      if (accuracy < PN_TIE_LEAST || accuracy <= tie[c].accuracy) continue;
      tie[c] = (pn_tie){traits[t].name, accuracy};
    }
  }
  free(image);
  return PN_OK;
}

/* Of two classes one says it all. */
static bool is_told(const pn_ingest *x, const pn_tie *tie, int c) {
  return tie[c].by && !(x->source.labels.n_classes == 2 && c == 1 && tie[0].by);
}

json_t *pn_ingest_ties_json(const pn_ingest *x) {
  const pn_labels *l = &x->source.labels;
  json_t *list = json_array();
  pn_tie tie[PN_MAX_CLASSES];

  if (!list || pn_ingest_find_ties(x, tie) != PN_OK) {
    json_decref(list);
    return NULL;
  }
  for (int c = 0; c < l->n_classes; c++)
    if (is_told(x, tie, c))
      json_array_append_new(list,
                            json_pack("{s:s, s:s, s:f}", "class", l->class_name[c], "by", tie[c].by,
                                      "balanced_accuracy", round(tie[c].accuracy * 1e4) / 1e4));
  return list;
}

void pn_ingest_warn_ties(const json_t *index) {
  json_t *tie;
  size_t i;

  json_array_foreach(json_object_get(index, "ties"), i, tie) {
    pn_warn(
        "class %s: the %s alone tells its images from all others: a network may learn where they "
        "come from (report.md)",
        json_string_value(json_object_get(tie, "class")),
        json_string_value(json_object_get(tie, "by")));
  }
}
