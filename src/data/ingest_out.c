/* ingest_out.c -- the output folder: earlier results, pieces and debris of a job that died. */
#include "data/ingest_out.h"

#include "base/file.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOURNAL_DIR ".ingest"
enum { SYNC_THREADS = 8 };

/* "shard-00042.h5": written by us and by nothing else. */
static bool is_shard(const char *name) {
  int number = -1, end = 0;
  return sscanf(name, "shard-%5d.h5%n", &number, &end) == 1 && end > 0 && !name[end];
}

/* Temporary names of ours: "NAME.tmp.PID", ".shard-00042.h5.tmp.HOST.PID". */
static bool is_debris(const char *name) {
  static const char *const ours[] = {"index.json", "rejects.csv", "report.md", "preview.png",
                                     ".shard-"};
  const char *tmp = strstr(name, ".tmp.");

  for (size_t i = 0; tmp && i < sizeof ours / sizeof *ours; i++)
    if (strncmp(name, ours[i], strlen(ours[i])) == 0) return true;
  return false;
}

static bool is_journal(const char *name) {
  return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Remove the files of a folder that `which` picks; a folder that is not there has none. */
static pn_status remove_files(const char *dir, bool (*which)(const char *name), int64_t *n) {
  char path[PATH_MAX];
  struct dirent *e;
  DIR *d = opendir(dir);
  pn_status st = PN_OK;

  if (!d && errno == ENOENT) return PN_OK;
  if (!d) return PN_FAIL(PN_ERR_IO, "cannot list %s: %s", dir, strerror(errno));
  while ((e = readdir(d)) != NULL) {
    if (!which(e->d_name)) continue;
    PN_TRY(pn_path_join(path, sizeof path, dir, e->d_name));
    if (unlink(path) != 0 && errno != ENOENT)
      PN_TRY(PN_FAIL(PN_ERR_IO, "cannot remove %s: %s", path, strerror(errno)));
    *n += 1;
  }
done:
  closedir(d);
  return st;
}

pn_status pn_ingest_forget(const char *out) {
  char dir[PATH_MAX];
  int64_t n = 0;
  pn_status st;

  if ((st = pn_path_join(dir, sizeof dir, out, JOURNAL_DIR)) != PN_OK) return st;
  if ((st = remove_files(dir, is_journal, &n)) != PN_OK) return st;
  if (rmdir(dir) != 0 && errno != ENOENT)
    return PN_FAIL(PN_ERR_IO, "cannot remove %s: %s", dir, strerror(errno));
  return PN_OK;
}

static bool plan_is_ours(const pn_ingest *x, const char *path) {
  char *text = NULL;
  size_t bytes = 0;
  bool same = pn_file_exists(path) && pn_file_read(path, &text, &bytes) == PN_OK &&
              strcmp(text, x->source.plan) == 0;
  free(text);
  return same;
}

/* Without an index nothing here was published.  Pieces of the same plan are kept: each is checked
 * before it is used.  All else is of no use. */
static pn_status start_journal(const pn_ingest *x) {
  const char *out = x->cfg->out;
  char dir[PATH_MAX], plan[PATH_MAX];
  int64_t n = 0;
  pn_status st;

  PN_TRY(pn_path_join(dir, sizeof dir, out, JOURNAL_DIR));
  PN_TRY(pn_path_join(plan, sizeof plan, dir, "plan"));
  if (plan_is_ours(x, plan)) {
    pn_info("%s: going on with an earlier, unfinished ingest", out);
    return PN_OK;
  }
  PN_TRY(pn_ingest_forget(out));
  PN_TRY(remove_files(out, is_shard, &n));
  if (n > 0)
    pn_info("%s: removed %lld shards of an unfinished ingest of other files or options", out,
            (long long)n);
  PN_TRY(pn_make_dirs(dir));
  PN_TRY(pn_file_write_unsynced(plan, x->source.plan, strlen(x->source.plan)));
done:
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

static pn_status read_index(const pn_ingest *x, const char *path, char **text, size_t *bytes) {
  json_t *index = NULL;
  pn_status st = pn_file_read(path, text, bytes);

  if (st != PN_OK) return st;
  index = json_loadb(*text, *bytes, 0, NULL);
  if (!index || !is_same(x, index))
    st = PN_FAIL(PN_ERR_ARG,
                 "%s holds a data set made from other files or options: choose another folder, or "
                 "remove that one first",
                 x->cfg->out);
  json_decref(index);
  return st;
}

pn_status pn_ingest_previous(const pn_ingest *x, char **text, size_t *bytes) {
  const char *out = x->cfg->out;
  char path[PATH_MAX];
  int64_t n = 0;
  pn_status st;

  *text = NULL;
  PN_TRY(pn_path_join(path, sizeof path, out, PN_INDEX_NAME));
  if (pn_file_exists(path)) PN_TRY(read_index(x, path, text, bytes));
  PN_TRY(remove_files(out, is_debris, &n));
  PN_TRY(*text ? pn_ingest_forget(out) : start_journal(x));
done:
  if (st != PN_OK) {
    free(*text);
    *text = NULL;
  }
  return st;
}

static pn_status sync_shard(const pn_ingest *x, const pn_shard_summary *s) {
  char path[PATH_MAX];
  struct stat info;
  pn_status st = pn_path_join(path, sizeof path, x->cfg->out, s->file);

  if (st != PN_OK) return st;
  if (stat(path, &info) != 0) return PN_FAIL(PN_ERR_IO, "%s is lost: %s", path, strerror(errno));
  if (info.st_size != s->bytes)
    return PN_FAIL(PN_ERR_FORMAT, "%s has %lld bytes, %lld were written: did another job touch it?",
                   path, (long long)info.st_size, (long long)s->bytes);
  return pn_file_sync(path);
}

/* A disk answers several fsyncs in the time of one. */
pn_status pn_ingest_sync(const pn_ingest *x) {
  const pn_ingest_shard *s = x->shards.data;
  int rank = pn_comm_rank(x->comm), size = pn_comm_size(x->comm);
  char why[1024] = "";
  pn_status st = PN_OK;

#pragma omp parallel for num_threads(SYNC_THREADS) schedule(dynamic)
  for (int64_t i = rank; i < x->shards.n; i += size) {
    pn_status own = sync_shard(x, &s[i].shard);
    if (own == PN_OK) continue;
#pragma omp critical
    {
      st = own;
      snprintf(why, sizeof why, "%s", pn_last_error());
    }
  }
  return st == PN_OK ? PN_OK : PN_FAIL(st, "%s", why);
}
