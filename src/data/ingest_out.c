/* ingest_out.c -- the output folder: lock, earlier results, leftovers of dead jobs. */
#include "data/ingest_out.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_NAME ".ingest.lock"

pn_status pn_ingest_lock(const char *out, int *lock) {
  char path[PATH_MAX];
  pn_status st;

  *lock = -1;
  if ((st = pn_make_dirs(out)) != PN_OK) return st;
  if ((st = pn_path_join(path, sizeof path, out, LOCK_NAME)) != PN_OK) return st;
  if ((*lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644)) < 0)
    return PN_FAIL(PN_ERR_IO, "cannot write to %s: %s", out, strerror(errno));
  if (flock(*lock, LOCK_EX | LOCK_NB) == 0) return PN_OK;
  if (errno != EWOULDBLOCK) { /* a file system without locks: go on without */
    pn_warn("%s: no file locks here (%s): do not run two ingests to it", out, strerror(errno));
    return PN_OK;
  }
  close(*lock);
  *lock = -1;
  return PN_FAIL(PN_ERR_ARG,
                 "another ingest is writing to %s: wait for it, or choose another "
                 "folder",
                 out);
}

void pn_ingest_unlock(const char *out, int lock) {
  char path[PATH_MAX];

  if (lock < 0) return;
  if (pn_path_join(path, sizeof path, out, LOCK_NAME) == PN_OK) unlink(path);
  close(lock);
}

/* "shard-00042.h5" or ".shard-00042.h5.tmp.HOST.PID": written by us and by nothing else. */
static bool is_leftover(const char *name) {
  int number = -1, end = 0;

  if (sscanf(name, ".shard-%5d.h5.tmp.%n", &number, &end) == 1 && end > 0) return true;
  return sscanf(name, "shard-%5d.h5%n", &number, &end) == 1 && end > 0 && !name[end];
}

/* Without an index nothing here was published: shards of a job that died. */
static pn_status remove_leftovers(const char *out) {
  char path[PATH_MAX];
  struct dirent *e;
  int64_t n = 0;
  DIR *dir = opendir(out);
  pn_status st = PN_OK;

  if (!dir) return PN_FAIL(PN_ERR_IO, "cannot list %s: %s", out, strerror(errno));
  while ((e = readdir(dir)) != NULL) {
    if (!is_leftover(e->d_name)) continue;
    PN_TRY(pn_path_join(path, sizeof path, out, e->d_name));
    if (unlink(path) != 0)
      PN_TRY(PN_FAIL(PN_ERR_IO, "cannot remove %s: %s", path, strerror(errno)));
    n++;
  }
  if (n > 0) pn_info("removed %lld shard files of an unfinished ingest in %s", (long long)n, out);
done:
  closedir(dir);
  return st;
}

static bool same_number(const json_t *index, const char *key, double value) {
  double d = json_number_value(json_object_get(index, key)) - value;
  return d < 1e-12 && d > -1e-12;
}

static bool is_same(const pn_ingest *x, const json_t *index) {
  const char *plan = json_string_value(json_object_get(index, "plan"));

  return plan && strcmp(plan, x->source.plan) == 0 &&
         json_integer_value(json_object_get(index, "seed")) == (json_int_t)x->cfg->seed &&
         same_number(index, "val_share", x->cfg->val_share) &&
         same_number(index, "test_share", x->cfg->test_share);
}

pn_status pn_ingest_previous(const pn_ingest *x, char **text, size_t *bytes) {
  const char *out = x->cfg->out;
  char path[PATH_MAX];
  json_t *index = NULL;
  pn_status st;

  *text = NULL;
  PN_TRY(pn_path_join(path, sizeof path, out, PN_INDEX_NAME));
  if (!pn_file_exists(path)) return remove_leftovers(out);
  PN_TRY(pn_file_read(path, text, bytes));
  index = json_loadb(*text, *bytes, 0, NULL);
  if (!index || !is_same(x, index))
    st = PN_FAIL(PN_ERR_ARG,
                 "%s holds a data set made from other files or options: choose another folder, or "
                 "remove that one first",
                 out);
done:
  json_decref(index);
  if (st != PN_OK) {
    free(*text);
    *text = NULL;
  }
  return st;
}
