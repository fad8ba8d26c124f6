/* kind_folders.c -- the name of a folder is the class of the images in it:
 *   CLASS/image, train|val|test/CLASS/image, CLASS/train|val|test/image, CLASS/images/image,
 * with any folders above that all images share. */
#include "data/kind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_PARTS = 40 };

/* A path cut into its folders. */
struct parts {
  const char *start[MAX_PARTS];
  int length[MAX_PARTS], n;
};

static void cut(const char *path, struct parts *p) {
  for (p->n = 0; strchr(path, '/') && p->n < MAX_PARTS; p->n++) {
    p->start[p->n] = path;
    p->length[p->n] = (int)strcspn(path, "/");
    path += p->length[p->n] + 1;
  }
}

static bool part_is(const struct parts *p, int i, const char *name) {
  return (int)strlen(name) == p->length[i] &&
         strncasecmp(p->start[i], name, (size_t)p->length[i]) == 0;
}

/* "images" says nothing about the class. */
static bool is_filler(const struct parts *p, int i) {
  return part_is(p, i, "images") || part_is(p, i, "image") || part_is(p, i, "img");
}

static int split_of(const struct parts *p, int i) {
  char name[32];
  if (p->length[i] >= (int)sizeof name) return -1;
  snprintf(name, sizeof name, "%.*s", p->length[i], p->start[i]);
  return pn_split_of_name(name);
}

void pn_mark_masks(pn_listing *l) {
  struct parts p;

  for (int64_t i = 0; i < l->n; i++) {
    if (l->entry[i].skip_reason) continue;
    cut(l->entry[i].path, &p);
    for (int k = 0; k < p.n; k++)
      if (part_is(&p, k, "masks") || part_is(&p, k, "mask")) l->entry[i].skip_reason = "mask";
  }
}

/* What the folders of one path say; class_at -1: nothing. */
struct place {
  int class_at, split;
};

/* shared: folders above all images.  The last split folder counts: chest_xray/chest_xray/train. */
static struct place place_of(const struct parts *p, int shared) {
  struct place out = {-1, -1};
  int split_at = -1, i;

  for (i = 0; i < p->n; i++)
    if (split_of(p, i) >= 0) {
      split_at = i;
      out.split = split_of(p, i);
    }
  i = split_at >= 0 ? split_at + 1 : shared;
  while (i < p->n && is_filler(p, i)) i++;
  if (i < p->n)
    out.class_at = i;
  else if (split_at > shared) /* CLASS/train/image */
    out.class_at = split_at - 1;
  return out;
}

/* Folders that every image path begins with; the last one is not counted
 * where images lie in it. */
static int shared_of(const char *const *path, int64_t n) {
  struct parts first, p;
  int shared = 0;

  if (n == 0) return 0;
  cut(path[0], &first);
  shared = first.n;
  for (int64_t i = 1; i < n && shared > 0; i++) {
    int k = 0;
    cut(path[i], &p);
    while (k < shared && k < p.n && p.length[k] == first.length[k] &&
           strncmp(p.start[k], first.start[k], (size_t)p.length[k]) == 0)
      k++;
    shared = k;
  }
  for (int64_t i = 0; i < n; i++) { /* images right below the last shared folder: it is a class */
    cut(path[i], &p);
    if (p.n > 0 && p.n <= shared) shared = p.n - 1;
  }
  return shared;
}

/* A label per file, in the order of the files. */
static pn_status label_files(const char *const *path, int64_t n, pn_labels *out,
                             int64_t *label_of) {
  int shared = shared_of(path, n);
  char name[PATH_MAX];
  struct parts p;
  pn_status st = PN_OK;

  out->label = calloc((size_t)n + 1, sizeof *out->label);
  if (!out->label) return PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
  for (int64_t i = 0; i < n && st == PN_OK; i++) {
    pn_label *l = &out->label[out->n];
    struct place at;
    cut(path[i], &p);
    at = place_of(&p, shared);
    label_of[i] = PN_LABEL_NONE;
    if (at.class_at < 0) continue;
    snprintf(name, sizeof name, "%.*s", p.length[at.class_at], p.start[at.class_at]);
    *l = (pn_label){.id = path[i], .split = at.split, .age = -1};
    st = pn_labels_class(out, name, "folder", &l->target);
    label_of[i] = out->n++;
  }
  return st;
}

/* Paths of the entries that count, for the same rules before and after the broadcast. */
static int64_t candidate_paths(const pn_listing *l, const char **path) {
  int64_t n = 0;
  for (int64_t i = 0; i < l->n; i++)
    if (!l->entry[i].skip_reason && !l->entry[i].dropped) path[n++] = l->entry[i].path;
  return n;
}

static void describe(const pn_labels *l, char found[PN_FOUND_BYTES]) {
  int64_t count[PN_MAX_CLASSES] = {0}, given = 0;
  size_t at;

  for (int64_t i = 0; i < l->n; i++) {
    count[l->label[i].target]++;
    given += l->label[i].split >= 0;
  }
  snprintf(found, PN_FOUND_BYTES, "no labels CSV, %d class folders%s:", l->n_classes,
           given ? " below train, val or test" : "");
  for (int k = 0; k < l->n_classes && (at = strlen(found)) < PN_FOUND_BYTES - 80; k++)
    snprintf(found + at, PN_FOUND_BYTES - at, " %s (%lld)", l->class_name[k], (long long)count[k]);
}

static bool detect(const pn_listing *l, char found[PN_FOUND_BYTES]) {
  const char **path = calloc((size_t)l->n + 1, sizeof *path);
  int64_t *label_of = calloc((size_t)l->n + 1, sizeof *label_of);
  pn_labels labels = {0};
  bool is = false;

  if (path && label_of && l->pictures + l->dicoms > 0) {
    int64_t n = candidate_paths(l, path);
    is = label_files(path, n, &labels, label_of) == PN_OK && labels.n_classes > 1;
    if (is) describe(&labels, found);
  }
  pn_labels_free(&labels);
  free(path);
  free(label_of);
  return is;
}

static pn_status open_folders(pn_listing *l, pn_ingest_source *s) {
  (void)s;
  pn_mark_masks(l);
  return PN_OK;
}

static pn_status check_classes(const pn_ingest *x) {
  const pn_labels *l = &x->source.labels;

  if (l->n_classes > 1) return PN_OK;
  if (l->n_classes == 1)
    return PN_FAIL(PN_ERR_ARG,
                   "%s: only one class folder, '%s': a classifier needs two or more (is this the "
                   "folder above the classes?)",
                   x->cfg->in, l->class_name[0]);
  return PN_FAIL(PN_ERR_ARG,
                 "%s: no class folders: put the images of each class into a folder of its own, or "
                 "give ingest.labels=FILE",
                 x->cfg->in);
}

static pn_status prepare(pn_ingest *x) {
  pn_ingest_source *s = &x->source;
  const char **path = calloc((size_t)s->n + 1, sizeof *path);
  int64_t *label_of = calloc((size_t)s->n + 1, sizeof *label_of), n = 0;
  pn_status st = PN_OK;

  if (!path || !label_of) st = PN_FAIL(PN_ERR_NOMEM, "labels: out of memory");
  for (int64_t i = 0; i < s->n && st == PN_OK; i++)
    if (!s->file[i].skip_reason) path[n++] = s->file[i].path;
  if (st == PN_OK) st = label_files(path, n, &s->labels, label_of);
  n = 0;
  for (int64_t i = 0; i < s->n && st == PN_OK; i++)
    s->file[i].label = s->file[i].skip_reason ? PN_LABEL_NONE : label_of[n++];
  if (st == PN_OK) st = check_classes(x);
  if (st == PN_OK) st = pn_labels_order(&s->labels, x->cfg->only);
  free(path);
  free(label_of);
  return st;
}

static pn_status read_image(pn_ingest_worker *w, int64_t file, pn_ingest_image *image,
                            pn_reject *why) {
  const pn_ingest_file *f = &w->x->source.file[file];
  pn_status st = pn_ingest_read_picture(w, file, &image->info, why);

  if (st != PN_OK) return st;
  if (f->label >= 0) image->label = &w->x->source.labels.label[f->label];
  if (!why->reason[0] && !image->label)
    pn_reject_set(why, "no_class_folder", NULL, "lies in no class folder");
  pn_patient_of_name(f->path, image->group, sizeof image->group);
  return PN_OK;
}

const pn_kind pn_kind_folders = {.name = "folders",
                                 .what = "a folder of images for each class",
                                 .detect = detect,
                                 .open = open_folders,
                                 .prepare = prepare,
                                 .read = read_image};
