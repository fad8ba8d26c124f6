/* ingest_list.c -- what lies in an RSNA folder: image files, sorted, and the two CSV texts. */
#include "data/ingest_internal.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 32 };

/* The list is one text: "SIZE SKIP_REASON_OR_- PATH\0" per file. */
struct lister {
  pn_ingest_array entries; /* char *, owned each */
  struct stat out;         /* the output folder is never input */
  bool has_out;
};

static const char *skip_reason(const char *name) {
  static const char *const junk[] = {"Thumbs.db", "desktop.ini", "DICOMDIR"};
  static const char *const other[] = {"csv", "txt", "json", "md", "yaml",
                                      "h5",  "xml", "pdf",  "log"};
  const char *dot = strrchr(name, '.');

  if (name[0] == '.') return "junk_file";
  for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
    if (strcasecmp(name, junk[i]) == 0) return "junk_file";
  for (size_t i = 0; dot && i < sizeof other / sizeof *other; i++)
    if (strcasecmp(dot + 1, other[i]) == 0) return "other_file";
  return NULL;
}

static pn_status add_entry(struct lister *l, const char *path, int64_t size, const char *skip) {
  char *entry = NULL;
  pn_status st;

  if (asprintf(&entry, "%lld %s %s", (long long)size, skip ? skip : "-", path) < 0)
    return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  if ((st = pn_ingest_array_add(&l->entries, &entry)) != PN_OK) free(entry);
  return st;
}

static bool ends_with_dcm(const char *name) {
  size_t n = strlen(name);
  return n > 4 && strcasecmp(name + n - 4, ".dcm") == 0;
}

static pn_status list_folder(struct lister *l, const char *root, const char *relative, int depth);

/* One name of a folder.  Links to files are followed, links to folders are not. */
static pn_status list_name(struct lister *l, const char *root, const char *path, const char *name,
                           int depth) {
  char full[PATH_MAX];
  struct stat s, link;
  pn_status st = pn_path_join(full, sizeof full, root, path);

  if (st != PN_OK) return st;
  if (lstat(full, &link) != 0 || stat(full, &s) != 0)
    return add_entry(l, path, 0, NULL); /* opening it will say why: dangling link, no permission */
  if (!S_ISDIR(s.st_mode)) return add_entry(l, path, s.st_size, skip_reason(name));
  if (l->has_out && s.st_dev == l->out.st_dev && s.st_ino == l->out.st_ino) return PN_OK;
  if (S_ISLNK(link.st_mode)) return add_entry(l, path, 0, "link_to_folder");
  if (ends_with_dcm(name) && (st = add_entry(l, path, 0, "directory")) != PN_OK) return st;
  return list_folder(l, root, path, depth + 1);
}

static pn_status list_folder(struct lister *l, const char *root, const char *relative, int depth) {
  char full[PATH_MAX], path[PATH_MAX];
  struct dirent *e;
  DIR *dir = NULL;
  pn_status st = PN_OK;

  if (depth > MAX_DEPTH)
    return PN_FAIL(PN_ERR_ARG, "%s/%s: folders nested more than %d deep", root, relative,
                   MAX_DEPTH);
  PN_TRY(pn_path_join(full, sizeof full, root, relative));
  if (!(dir = opendir(full)))
    PN_TRY(PN_FAIL(PN_ERR_IO, "cannot list the folder %s: %s", full, strerror(errno)));
  while ((errno = 0, e = readdir(dir)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (relative[0])
      PN_TRY(pn_path_join(path, sizeof path, relative, e->d_name));
    else
      snprintf(path, sizeof path, "%s", e->d_name);
    PN_TRY(list_name(l, root, path, e->d_name, depth));
  }
  if (errno) st = PN_FAIL(PN_ERR_IO, "cannot list the folder %s: %s", full, strerror(errno));
done:
  if (dir) closedir(dir);
  return st;
}

static const char *path_of_entry(const char *entry) {
  return strchr(strchr(entry, ' ') + 1, ' ') + 1;
}

static int by_path(const void *a, const void *b) {
  return strcmp(path_of_entry(*(char *const *)a), path_of_entry(*(char *const *)b));
}

static pn_status join_entries(const pn_ingest_array *a, pn_ingest_source *s) {
  char *const *entry = a->data;
  size_t at = 0;

  for (int64_t i = 0; i < a->n; i++) s->list_bytes += strlen(entry[i]) + 1;
  if (!(s->list = malloc(s->list_bytes + 1)))
    return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  for (int64_t i = 0; i < a->n; i++) {
    size_t n = strlen(entry[i]) + 1;
    memcpy(s->list + at, entry[i], n);
    at += n;
  }
  s->list[at] = 0;
  return PN_OK;
}

static pn_status list_images(const pn_ingest_config *cfg, const char *images, pn_ingest_source *s) {
  struct lister l = {.entries = {.item_bytes = sizeof(char *)}};
  pn_status st = PN_OK;

  l.has_out = stat(cfg->out, &l.out) == 0;
  PN_TRY(list_folder(&l, cfg->in, images, 0));
  if (l.entries.n > 0) qsort(l.entries.data, (size_t)l.entries.n, sizeof(char *), by_path);
  PN_TRY(join_entries(&l.entries, s));
done:
  for (int64_t i = 0; i < l.entries.n; i++) free(((char **)l.entries.data)[i]);
  free(l.entries.data);
  return st;
}

static bool is_folder(const char *path) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static pn_status read_csv(const char *path, char **text, size_t *bytes, char **name) {
  const char *slash = strrchr(path, '/');
  pn_status st = pn_file_read(path, text, bytes);

  if (st != PN_OK) return st;
  if (!(*name = strdup(slash ? slash + 1 : path)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  return PN_OK;
}

/* The class file lies beside the labels; it may be absent only where labels were named. */
static pn_status read_classes(const pn_ingest_config *cfg, const char *labels,
                              pn_ingest_source *s) {
  char path[PATH_MAX];
  const char *slash = strrchr(labels, '/');
  bool given = cfg->classes && cfg->classes[0];

  if (given)
    snprintf(path, sizeof path, "%s", cfg->classes);
  else
    snprintf(path, sizeof path, "%.*sstage_2_detailed_class_info.csv",
             slash ? (int)(slash - labels + 1) : 0, labels);
  if (given || pn_file_exists(path))
    return read_csv(path, &s->classes_text, &s->classes_bytes, &s->classes_name);
  if (cfg->labels && cfg->labels[0]) {
    pn_warn("no stage_2_detailed_class_info.csv beside %s: Target is not checked against the class",
            labels);
    return PN_OK;
  }
  return PN_FAIL(PN_ERR_ARG,
                 "%s is missing: put it there, or name the files with ingest.labels=FILE "
                 "ingest.classes=FILE",
                 path);
}

static pn_status read_labels(const pn_ingest_config *cfg, pn_ingest_source *s) {
  char path[PATH_MAX];
  bool given = cfg->labels && cfg->labels[0];
  pn_status st;

  if (given)
    snprintf(path, sizeof path, "%s", cfg->labels);
  else if ((st = pn_path_join(path, sizeof path, cfg->in, "stage_2_train_labels.csv")) != PN_OK)
    return st;
  if (!given && !pn_file_exists(path))
    return PN_FAIL(PN_ERR_ARG,
                   "%s has no stage_2_train_labels.csv: add it, or name a labels file with "
                   "ingest.labels=FILE (columns patientId,x,y,width,height,Target)",
                   cfg->in);
  if ((st = read_csv(path, &s->labels_text, &s->labels_bytes, &s->labels_name)) != PN_OK) return st;
  return read_classes(cfg, path, s);
}

pn_status pn_ingest_list(const pn_ingest_config *cfg, pn_ingest_source *s) {
  char images[PATH_MAX];
  pn_status st;

  if (!is_folder(cfg->in))
    return PN_FAIL(PN_ERR_ARG, "%s is not a folder%s", cfg->in,
                   pn_file_exists(cfg->in) ? ": unpack an archive first (unzip, tar -xf)" : "");
  if ((st = pn_path_join(images, sizeof images, cfg->in, "stage_2_train_images")) != PN_OK)
    return st;
  if ((st = read_labels(cfg, s)) != PN_OK) return st;
  st = list_images(cfg, is_folder(images) ? "stage_2_train_images" : "", s);
  if (st == PN_OK && s->list_bytes == 0)
    st = PN_FAIL(PN_ERR_ARG,
                 "%s holds no image files: expected .dcm files in it or in its folder "
                 "stage_2_train_images",
                 cfg->in);
  return st;
}
