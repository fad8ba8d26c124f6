/* algorithms.c -- see algorithms.h.  A line is "number math bytes key"; ranks append whole lines.
 */
#include "algorithms.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 1024, LINE_BYTES = CU_KEY_BYTES + 64 };

/* False: there is no place for it. */
static bool cache_path(char path[PATH_BYTES]) {
  const char *given = getenv("PN_CUDA_CACHE"), *cache = getenv("XDG_CACHE_HOME");
  const char *home = getenv("HOME");
  int n;

  if (given && *given)
    n = snprintf(path, PATH_BYTES, "%s", given);
  else if (cache && *cache)
    n = snprintf(path, PATH_BYTES, "%s/pneuma/algorithms.txt", cache);
  else if (home && *home)
    n = snprintf(path, PATH_BYTES, "%s/.cache/pneuma/algorithms.txt", home);
  else
    return false;
  return n > 0 && n < PATH_BYTES;
}

void cu_algorithm_key(const char *gpu, int64_t library, bool tf32, const cu_conv_job *job,
                      char key[CU_KEY_BYTES]) {
  const cu_conv *s = &job->shape;

  const char *type = tf32 && job->type == PN_F32 ? "tf32" : pn_dtype_name(job->type);

  snprintf(key, CU_KEY_BYTES,
           "%s|%" PRId64 "|%s|pass %d%s%s%s|n%u c%u h%u w%u o%u|%dx%d/%dx%d+%dx%d", gpu, library,
           type, (int)job->pass, job->bias ? "+bias" : "", job->relu ? "+relu" : "",
           job->stats ? "+stats" : "", s->n, s->c, s->h, s->w, s->o, s->kernel[0], s->kernel[1],
           s->stride[0], s->stride[1], s->pad[0], s->pad[1]);
}

/* Lines that do not parse, or were cut by a full disk, are passed over. */
static bool parse(const char *line, const char *key, cu_algorithm *out) {
  cu_algorithm a;
  int at = 0;

  if (sscanf(line, "%d %d %zu %n", &a.number, &a.math, &a.bytes, &at) != 3 || at == 0) return false;
  if (strncmp(line + at, key, strlen(key)) != 0 || strcmp(line + at + strlen(key), "\n") != 0)
    return false;
  *out = a;
  return true;
}

bool cu_algorithm_find(const char *key, cu_algorithm *out) {
  char path[PATH_BYTES], line[LINE_BYTES];
  bool found = false;
  FILE *f;

  if (!cache_path(path) || !(f = fopen(path, "r"))) return false;
  while (fgets(line, sizeof line, f)) found |= parse(line, key, out);
  fclose(f);
  return found;
}

/* Folders above the file, as mkdir -p. */
static void make_folders(char *path) {
  for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
    *p = '\0';
    if (mkdir(path, 0755) != 0 && errno != EEXIST) { /* open tells */
    }
    *p = '/';
  }
}

void cu_algorithm_keep(const char *key, const cu_algorithm *a) {
  char path[PATH_BYTES], line[LINE_BYTES];
  int n = snprintf(line, sizeof line, "%d %d %zu %s\n", a->number, a->math, a->bytes, key), f;

  if (!cache_path(path) || n >= (int)sizeof line) return;
  make_folders(path);
  if ((f = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0) return;
  if (write(f, line, (size_t)n) < 0) { /* the next run searches again */
  }
  close(f);
}
