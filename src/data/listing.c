/* listing.c -- every name below the input folder, sorted; what is no image by its name is marked;
 * the first bytes of some others are looked at. */
#include "base/file.h"
#include "base/log.h"
#include "data/kind.h"
#include "data/picture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 32, LOOK_AT = 24, SNIFF_BYTES = 512 };

struct walk {
  pn_ingest_array entries; /* pn_list_entry */
  const char *root;
  struct stat out; /* the output folder is never input */
  bool has_out;
};

static bool has_extension(const char *name, const char *extension) {
  size_t n = strlen(name), e = strlen(extension);
  return n > e + 1 && name[n - e - 1] == '.' && strcasecmp(name + n - e, extension) == 0;
}

const char *pn_unpack_command(const char *name) {
  static const char *const known[][2] = {
      {"zip", "unzip"},       {"tar", "tar -xf"},    {"tgz", "tar -xf"},    {"tbz2", "tar -xf"},
      {"txz", "tar -xf"},     {"tar.gz", "tar -xf"}, {"tar.xz", "tar -xf"}, {"tar.bz2", "tar -xf"},
      {"tar.zst", "tar -xf"}, {"gz", "gunzip"},      {"xz", "unxz"},        {"bz2", "bunzip2"},
      {"zst", "unzstd"},      {"7z", "7z x"},        {"rar", "unrar x"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (has_extension(name, known[i][0])) return known[i][1];
  return NULL;
}

static const char *skip_by_name(const char *name) {
  static const char *const junk[] = {"Thumbs.db", "desktop.ini", "DICOMDIR"};
  static const char *const other[] = {"csv", "txt",  "json", "md",   "yaml", "h5",  "xml", "pdf",
                                      "log", "xlsx", "html", "docx", "py",   "yml", "tsv"};

  if (name[0] == '.') return "junk_file";
  for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
    if (strcasecmp(name, junk[i]) == 0) return "junk_file";
  for (size_t i = 0; i < sizeof other / sizeof *other; i++)
    if (has_extension(name, other[i])) return "other_file";
  return pn_unpack_command(name) ? "archive" : NULL;
}

static pn_status add(struct walk *w, const char *path, int64_t size, const char *skip) {
  pn_list_entry e = {.path = strdup(path), .size = size, .skip_reason = skip};
  pn_status st = e.path ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");

  if (st == PN_OK) st = pn_ingest_array_add(&w->entries, &e);
  if (st != PN_OK) free(e.path);
  return st;
}

static pn_status list_folder(struct walk *w, const char *relative, int depth);

/* One name of a folder.  Links to files are followed, links to folders are not. */
static pn_status list_name(struct walk *w, const char *path, const char *name, int depth) {
  char full[PATH_MAX];
  struct stat s, link;
  pn_status st = pn_path_join(full, sizeof full, w->root, path);

  if (st != PN_OK) return st;
  if (lstat(full, &link) != 0 || stat(full, &s) != 0)
    return add(w, path, 0, NULL); /* opening it will say why: dangling link, no permission */
  if (!S_ISDIR(s.st_mode)) {
    bool junk = strncmp(path, "__MACOSX/", 9) == 0 || strstr(path, "/__MACOSX/");
    return add(w, path, s.st_size, junk ? "junk_file" : skip_by_name(name));
  }
  if (w->has_out && s.st_dev == w->out.st_dev && s.st_ino == w->out.st_ino) return PN_OK;
  if (S_ISLNK(link.st_mode)) return add(w, path, 0, "link_to_folder");
  if (has_extension(name, "dcm") && (st = add(w, path, 0, "directory")) != PN_OK) return st;
  return list_folder(w, path, depth + 1);
}

static pn_status list_folder(struct walk *w, const char *relative, int depth) {
  char full[PATH_MAX], path[PATH_MAX];
  struct dirent *e;
  DIR *dir = NULL;
  bool empty = true;
  pn_status st = PN_OK;

  if (depth > MAX_DEPTH)
    return PN_FAIL(PN_ERR_ARG, "%s/%s: folders nested more than %d deep", w->root, relative,
                   MAX_DEPTH);
  PN_TRY(pn_path_join(full, sizeof full, w->root, relative));
  if (!(dir = opendir(full)))
    PN_TRY(PN_FAIL(PN_ERR_IO, "cannot list the folder %s: %s", full, strerror(errno)));
  while ((errno = 0, e = readdir(dir)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    empty = false;
    if (relative[0])
      PN_TRY(pn_path_join(path, sizeof path, relative, e->d_name));
    else
      snprintf(path, sizeof path, "%s", e->d_name);
    PN_TRY(list_name(w, path, e->d_name, depth));
  }
  if (errno) st = PN_FAIL(PN_ERR_IO, "cannot list the folder %s: %s", full, strerror(errno));
  if (st == PN_OK && empty && relative[0])
    pn_warn("the folder %s is empty: no class comes of it", full);
done:
  if (dir) closedir(dir);
  return st;
}

static int by_path(const void *a, const void *b) {
  const pn_list_entry *x = a, *y = b;
  return strcmp(x->path, y->path);
}

/* First bytes of a file, never blocking; 0: cannot be read. */
static size_t read_start(const char *path, uint8_t *to, size_t bytes) {
  struct stat s;
  ssize_t n = 0;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

  if (fd < 0) return 0;
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) n = read(fd, to, bytes);
  close(fd);
  return n > 0 ? (size_t)n : 0;
}

const char *pn_listing_sniff(const pn_listing *l, const pn_list_entry *e) {
  uint8_t start[SNIFF_BYTES];
  char path[PATH_MAX];
  const char *unpack, *kind;
  size_t n;

  if (pn_path_join(path, sizeof path, l->cfg->in, e->path) != PN_OK) return NULL;
  n = read_start(path, start, sizeof start);
  kind = pn_file_kind(start, n, &unpack);
  return !kind && has_extension(e->path, "dcm") ? "DICOM" : kind;
}

/* Some candidates, evenly over the list. */
static void look_at_some(pn_listing *l) {
  int64_t n = 0, k = 0;

  for (int64_t i = 0; i < l->n; i++) n += !l->entry[i].skip_reason;
  for (int64_t i = 0; i < l->n; i++) {
    const char *kind;
    if (l->entry[i].skip_reason) continue;
    k++;
    if (n > LOOK_AT && k > 1 && (k - 1) * LOOK_AT / n == (k - 2) * LOOK_AT / n) continue;
    l->looked++;
    kind = pn_listing_sniff(l, &l->entry[i]);
    if (!kind) continue;
    l->pictures += strcmp(kind, "PNG") == 0 || strcmp(kind, "JPEG") == 0;
    l->dicoms += strcmp(kind, "DICOM") == 0;
  }
}

static pn_status check_folder(const char *in) {
  uint8_t start[SNIFF_BYTES];
  const char *unpack = NULL, *kind;
  struct stat s;
  size_t n;

  if (stat(in, &s) == 0 && S_ISDIR(s.st_mode)) return PN_OK;
  if (stat(in, &s) != 0) return PN_FAIL(PN_ERR_ARG, "%s is not a folder: %s", in, strerror(errno));
  n = read_start(in, start, sizeof start);
  kind = pn_file_kind(start, n, &unpack);
  if (unpack && pn_unpack_command(in)) unpack = pn_unpack_command(in); /* a tar inside a gzip */
  if (unpack)
    return PN_FAIL(PN_ERR_ARG,
                   "%s is not a folder but an archive (%s): unpack it with `%s %s` in a new "
                   "folder and name that",
                   in, kind, unpack, in);
  return PN_FAIL(PN_ERR_ARG, "%s is not a folder%s%s", in, kind ? ": it looks like " : "",
                 kind ? kind : "");
}

pn_status pn_listing_make(const pn_ingest_config *cfg, pn_listing *out) {
  struct walk w = {.entries = {.item_bytes = sizeof(pn_list_entry)}, .root = cfg->in};
  pn_status st;

  *out = (pn_listing){.cfg = cfg};
  if ((st = check_folder(cfg->in)) != PN_OK) return st;
  w.has_out = stat(cfg->out, &w.out) == 0;
  st = list_folder(&w, "", 0);
  out->entry = w.entries.data;
  out->n = w.entries.n;
  if (st != PN_OK) return st;
  if (out->n > 1) qsort(out->entry, (size_t)out->n, sizeof *out->entry, by_path);
  look_at_some(out);
  return PN_OK;
}

void pn_listing_free(pn_listing *l) {
  for (int64_t i = 0; i < l->n; i++) free(l->entry[i].path);
  free(l->entry);
  *l = (pn_listing){0};
}

bool pn_listing_has(const pn_listing *l, const char *path) {
  pn_list_entry key = {.path = (char *)(uintptr_t)path};
  return l->n > 0 && bsearch(&key, l->entry, (size_t)l->n, sizeof key, by_path);
}

void pn_listing_keep(pn_listing *l, const char *folder) {
  size_t n = strlen(folder);
  bool any = false;

  for (int64_t i = 0; i < l->n && !any; i++)
    any = strncmp(l->entry[i].path, folder, n) == 0 && l->entry[i].path[n] == '/';
  for (int64_t i = 0; i < l->n && any; i++)
    if (strncmp(l->entry[i].path, folder, n) != 0 || l->entry[i].path[n] != '/')
      l->entry[i].dropped = true;
}
