/* checkpoint_folder.c -- which checkpoints a run has, and which of them stay. */
#include "base/file.h"
#include "train/checkpoint_file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void pn_part_name(int rank, char out[PN_PART_NAME_BYTES]) {
  snprintf(out, PN_PART_NAME_BYTES, "part_%04d.h5", rank);
}

pn_status pn_step_folder_make(const char *run, int64_t step, const char *token, pn_step_folder *f) {
  char name[64];
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(f->parent, sizeof f->parent, run, "checkpoints"));
  snprintf(name, sizeof name, "step_%lld", (long long)step);
  PN_TRY(pn_path_join(f->final, sizeof f->final, f->parent, name));
  snprintf(name, sizeof name, "step_%lld%s%s.tmp", (long long)step, *token ? "." : "", token);
  PN_TRY(pn_path_join(f->tmp, sizeof f->tmp, f->parent, name));
done:
  return st;
}

/* A flat folder and its files; a missing one is fine. */
static pn_status remove_folder(const char *path) {
  char file[PN_RUN_PATH_BYTES];
  DIR *d = opendir(path);
  struct dirent *e;
  pn_status st = PN_OK;

  if (!d) return PN_OK;
  while (st == PN_OK && (e = readdir(d)) != NULL) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    st = pn_path_join(file, sizeof file, path, e->d_name);
    if (st == PN_OK && unlink(file) != 0) st = PN_FAIL(PN_ERR_IO, "cannot delete %s", file);
  }
  closedir(d);
  if (st == PN_OK && rmdir(path) != 0) st = PN_FAIL(PN_ERR_IO, "cannot delete %s", path);
  return st;
}

pn_status pn_step_folder_start(const pn_step_folder *f) {
  pn_status st = remove_folder(f->tmp);
  return st != PN_OK ? st : pn_make_dirs(f->tmp);
}

/* N of "step_N", with nothing behind; -1 for any other name. */
static int64_t step_of_name(const char *name) {
  char *end;
  long long n;

  if (strncmp(name, "step_", 5) != 0 || name[5] < '0' || name[5] > '9') return -1;
  n = strtoll(name + 5, &end, 10);
  return *end ? -1 : (int64_t)n;
}

static int descending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x < y) - (x > y);
}

/* Steps of the folders "step_N", newest first; *out is the caller's.  No folder: none. */
static pn_status list_steps(const char *run, int64_t **out, int64_t *n) {
  pn_step_folder f;
  struct dirent *e;
  DIR *d = NULL;
  int64_t room = 0;
  pn_status st = pn_step_folder_make(run, 0, "", &f);

  *out = NULL;
  *n = 0;
  if (st == PN_OK) d = opendir(f.parent);
  while (d && (e = readdir(d)) != NULL) {
    int64_t step = step_of_name(e->d_name);
    if (step < 0) continue;
    if (*n == room) {
      int64_t *more = realloc(*out, (size_t)(room = 2 * room + 8) * sizeof *more);
      if (!more) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "list of checkpoints: out of memory"));
      *out = more;
    }
    (*out)[(*n)++] = step;
  }
  if (*n) qsort(*out, (size_t)*n, sizeof **out, descending);
done:
  if (d) closedir(d);
  return st;
}

int64_t pn_step_folder_newest(const char *run) {
  int64_t *steps, n, newest = -1;

  if (list_steps(run, &steps, &n) == PN_OK && n > 0) newest = steps[0];
  free(steps);
  return newest;
}

/* Renamed back to .tmp before it is emptied: what has no .tmp is complete. */
static pn_status remove_step(const char *run, int64_t step) {
  pn_step_folder f;
  pn_status st = PN_OK;

  PN_TRY(pn_step_folder_make(run, step, "", &f));
  PN_TRY(remove_folder(f.tmp));
  if (rename(f.final, f.tmp) != 0) PN_TRY(PN_FAIL(PN_ERR_IO, "cannot rename %s", f.final));
  PN_TRY(remove_folder(f.tmp));
done:
  return st;
}

pn_status pn_step_folder_prune(const char *run, int64_t keep, int64_t best) {
  int64_t *steps, n;
  pn_status st = list_steps(run, &steps, &n);

  for (int64_t i = keep; st == PN_OK && i < n; i++)
    if (steps[i] != best) st = remove_step(run, steps[i]);
  free(steps);
  return st;
}

static bool is_left_over(const char *name) {
  size_t n = strlen(name);
  return strncmp(name, "step_", 5) == 0 && n > 4 && strcmp(name + n - 4, ".tmp") == 0;
}

pn_status pn_step_folder_sweep(const char *run) {
  char path[PN_RUN_PATH_BYTES];
  pn_step_folder f;
  DIR *d = NULL;
  struct dirent *e;
  pn_status st = pn_step_folder_make(run, 0, "", &f);

  if (st == PN_OK) d = opendir(f.parent);
  while (d && st == PN_OK && (e = readdir(d)) != NULL) {
    if (!is_left_over(e->d_name)) continue;
    st = pn_path_join(path, sizeof path, f.parent, e->d_name);
    if (st == PN_OK) st = remove_folder(path);
  }
  if (d) closedir(d);
  return st;
}
