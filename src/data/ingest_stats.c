/* ingest_stats.c -- counts over the merged records and events. */
#include "data/ingest_stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SIDE = 128 };

const char *pn_stats_sex(int i) {
  static const char *const names[PN_STATS_SEXES] = {"F", "M", "O", "missing"};
  return i >= 0 && i < PN_STATS_SEXES ? names[i] : "?";
}

void pn_stats_age(int i, char out[16]) {
  if (i == PN_STATS_AGES - 1)
    snprintf(out, 16, "missing");
  else if (i == PN_STATS_AGES - 2)
    snprintf(out, 16, "90+");
  else
    snprintf(out, 16, "%d-%d", 10 * i, 10 * i + 9);
}

void pn_stats_side(int i, char out[16]) {
  if (i == 0)
    snprintf(out, 16, "<%d", FIRST_SIDE);
  else if (i == PN_STATS_SIDES - 1)
    snprintf(out, 16, "%d+", FIRST_SIDE << (i - 1));
  else
    snprintf(out, 16, "%d-%d", FIRST_SIDE << (i - 1), (FIRST_SIDE << i) - 1);
}

static int sex_of(uint8_t sex) {
  return sex == 'F' ? 0 : sex == 'M' ? 1 : sex == 'O' ? 2 : 3;
}

static int age_of(int age) {
  if (age < 0) return PN_STATS_AGES - 1;
  return age >= 90 ? PN_STATS_AGES - 2 : age / 10;
}

static int side_of(const pn_ingest_record *r) {
  int32_t side = r->height > r->width ? r->height : r->width;
  int i = 0;
  while (i < PN_STATS_SIDES - 1 && side >= FIRST_SIDE << i) i++;
  return i;
}

struct view {
  char name[PN_SHARD_VIEW_BYTES];
  int64_t n;
};

static int by_count(const void *a, const void *b) {
  const struct view *x = a, *y = b;
  if (x->n != y->n) return x->n < y->n ? 1 : -1;
  return strcmp(x->name, y->name);
}

/* The names of the most frequent views, by their numbers. */
static void find_views(const pn_ingest *x, pn_ingest_stats *s) {
  enum { KNOWN = 64 }; /* there are about 20 in the standard */
  const pn_ingest_record *r = x->records.data;
  struct view view[KNOWN] = {{"", 0}};
  int n = 0;

  for (int64_t i = 0; i < x->records.n; i++) {
    int k = 0;
    if (r[i].split < 0 || !r[i].view[0]) continue;
    while (k < n && strcmp(view[k].name, r[i].view) != 0) k++;
    if (k == KNOWN) continue; /* counted as "other" */
    if (k == n) memcpy(view[n++].name, r[i].view, sizeof view[0].name);
    view[k].n++;
  }
  qsort(view, (size_t)n, sizeof *view, by_count);
  for (int k = 0; k < n && k < PN_STATS_VIEWS - 1; k++)
    memcpy(s->view[k], view[k].name, sizeof s->view[k]);
  snprintf(s->view[PN_STATS_VIEWS - 1], sizeof s->view[0], "missing");
}

static int view_of(const pn_ingest_stats *s, const char *name) {
  for (int k = 0; *name && k < PN_STATS_VIEWS - 1; k++)
    if (strcmp(s->view[k], name) == 0) return k;
  return PN_STATS_VIEWS - 1;
}

static void count_image(pn_ingest_stats *s, const pn_ingest_record *r) {
  int c = r->label < PN_STATS_CLASSES ? r->label : PN_STATS_CLASSES - 1;
  int32_t size[2] = {r->height, r->width};

  s->written++;
  s->by_split[c][r->split]++;
  s->by_sex[c][sex_of(r->sex)]++;
  s->by_age[c][age_of(r->age)]++;
  s->by_view[c][view_of(s, r->view)]++;
  s->sides[side_of(r)]++;
  s->boxes += r->boxes;
  s->boxes_clipped += r->boxes_clipped;
  for (int k = 0; k < PN_INGEST_LEVELS; k++) s->levels[k] += r->levels[k];
  for (int k = 0; k < 2; k++) {
    if (s->written == 1 || size[k] < s->least[k]) s->least[k] = size[k];
    if (size[k] > s->most[k]) s->most[k] = size[k];
  }
}

struct member {
  uint64_t group;
  int32_t split;
};

static int by_group(const void *a, const void *b) {
  const struct member *x = a, *y = b;
  if (x->group != y->group) return x->group > y->group ? 1 : -1;
  return (x->split > y->split) - (x->split < y->split);
}

static pn_status count_patients(const pn_ingest *x, pn_ingest_stats *s) {
  const pn_ingest_record *r = x->records.data;
  struct member *m = malloc(((size_t)x->records.n + 1) * sizeof *m);
  int64_t n = 0;

  if (!m) return PN_FAIL(PN_ERR_NOMEM, "report: out of memory");
  for (int64_t i = 0; i < x->records.n; i++)
    if (r[i].split >= 0) m[n++] = (struct member){r[i].group, r[i].split};
  if (n > 1) qsort(m, (size_t)n, sizeof *m, by_group);
  for (int64_t i = 0, k; i < n; i = k) {
    for (k = i; k < n && m[k].group == m[i].group; k++) continue;
    s->patients++;
    s->leaking += m[i].split != m[k - 1].split;
  }
  free(m);
  return PN_OK;
}

static int by_outcome(const void *a, const void *b) {
  const pn_stats_reason *x = a, *y = b;
  if (x->outcome != y->outcome) return x->outcome > y->outcome ? 1 : -1;
  if (x->n != y->n) return x->n < y->n ? 1 : -1;
  return strcmp(x->reason, y->reason);
}

static void count_reasons(const pn_ingest *x, pn_ingest_stats *s) {
  const pn_ingest_event *e = x->events.data;

  for (int64_t i = 0; i < x->events.n; i++) {
    int k = 0;
    while (k < s->n_reasons && (s->reason[k].outcome != e[i].outcome ||
                                strcmp(s->reason[k].reason, e[i].why.reason) != 0))
      k++;
    if (k == PN_STATS_REASONS) continue;
    if (k == s->n_reasons) {
      s->n_reasons++;
      s->reason[k].outcome = e[i].outcome;
      memcpy(s->reason[k].reason, e[i].why.reason, sizeof s->reason[k].reason);
    }
    s->reason[k].n++;
  }
  qsort(s->reason, (size_t)s->n_reasons, sizeof *s->reason, by_outcome);
}

pn_status pn_ingest_stats_make(const pn_ingest *x, const json_t *index, pn_ingest_stats *out) {
  const pn_ingest_record *r = x->records.data;
  const json_t *name;
  size_t i;

  memset(out, 0, sizeof *out);
  json_array_foreach(json_object_get(index, "classes"), i, name) {
    if (i == PN_STATS_CLASSES) break;
    out->class_name[i] = json_string_value(name);
    out->n_classes = (int)i + 1;
  }
  find_views(x, out);
  for (int64_t k = 0; k < x->records.n; k++)
    if (r[k].split >= 0)
      count_image(out, &r[k]);
    else
      out->dropped++;
  count_reasons(x, out);
  return count_patients(x, out);
}
