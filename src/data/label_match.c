/* label_match.c -- which row of a labels CSV is about which file.
 *
 * Three tries: the row's path ends the file's path; same file name; same name without extension.
 * Names that lead to several rows, or rows that several files claim, are ambiguous: better no label
 * than another image's. */
#include "data/kind.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct key {
  const char *name; /* of the last part of a row's path */
  size_t bytes;     /* with or without extension */
  int64_t label;
};

struct keys {
  struct key *key; /* [n], sorted */
  int64_t n;
};

static const char *base_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Length without an extension of images; others belong to the name. */
static size_t stem_bytes(const char *name) {
  static const char *const known[] = {".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".bmp", ".tif"};
  const char *dot = strrchr(name, '.');

  for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
    if (strcasecmp(dot, known[i]) == 0) return (size_t)(dot - name);
  return strlen(name);
}

static int compare(const struct key *a, const struct key *b) {
  size_t n = a->bytes < b->bytes ? a->bytes : b->bytes;
  int d = memcmp(a->name, b->name, n);
  return d ? d : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

static int by_key(const void *a, const void *b) {
  const struct key *x = a, *y = b;
  int d = compare(x, y);
  return d ? d : (x->label > y->label) - (x->label < y->label);
}

static pn_status make_keys(const pn_labels *l, bool stems, struct keys *out) {
  out->n = l->n;
  if (!(out->key = calloc((size_t)l->n + 1, sizeof *out->key)))
    return PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
  for (int64_t i = 0; i < l->n; i++) {
    const char *name = base_of(l->label[i].id);
    out->key[i] = (struct key){name, stems ? stem_bytes(name) : strlen(name), i};
  }
  if (l->n > 1) qsort(out->key, (size_t)l->n, sizeof *out->key, by_key);
  return PN_OK;
}

/* The one row of that name, PN_LABEL_NONE or PN_LABEL_AMBIGUOUS. */
static int64_t find_key(const struct keys *k, const char *name, size_t bytes) {
  struct key key = {name, bytes, 0};
  int64_t lo = 0, hi = k->n;

  while (lo < hi) {
    int64_t mid = (lo + hi) / 2;
    if (compare(&k->key[mid], &key) < 0)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo == k->n || compare(&k->key[lo], &key) != 0) return PN_LABEL_NONE;
  if (lo + 1 < k->n && compare(&k->key[lo + 1], &key) == 0) return PN_LABEL_AMBIGUOUS;
  return k->key[lo].label;
}

static int64_t find_path(const pn_labels *l, const char *path) {
  for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
    const pn_label *found = pn_labels_find(l, p);
    if (found) return found - l->label;
  }
  return PN_LABEL_NONE;
}

static int64_t find_label(const pn_labels *l, const struct keys *names, const struct keys *stems,
                          const char *path) {
  const char *name = base_of(path);
  int64_t found = find_path(l, path);

  if (found == PN_LABEL_NONE) found = find_key(names, name, strlen(name));
  if (found == PN_LABEL_NONE) found = find_key(stems, name, stem_bytes(name));
  return found;
}

/* A row claimed by several files is believed where its path is the whole path of one. */
static void settle_claims(pn_ingest_source *s, const int32_t *claims) {
  for (int64_t i = 0; i < s->n; i++) {
    pn_ingest_file *f = &s->file[i];
    if (f->label >= 0 && claims[f->label] > 1 && strcmp(s->labels.label[f->label].id, f->path) != 0)
      f->label = PN_LABEL_AMBIGUOUS;
  }
}

pn_status pn_labels_match(pn_ingest_source *s) {
  struct keys names = {0}, stems = {0};
  int32_t *claims = calloc((size_t)s->labels.n + 1, sizeof *claims);
  pn_status st = claims ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");

  if (st == PN_OK) st = make_keys(&s->labels, false, &names);
  if (st == PN_OK) st = make_keys(&s->labels, true, &stems);
  for (int64_t i = 0; i < s->n && st == PN_OK; i++) {
    pn_ingest_file *f = &s->file[i];
    f->label = f->skip_reason ? PN_LABEL_NONE : find_label(&s->labels, &names, &stems, f->path);
    if (f->label >= 0 && f->number == 0) claims[f->label]++;
  }
  if (st == PN_OK) settle_claims(s, claims);
  free(claims);
  free(names.key);
  free(stems.key);
  return st;
}
