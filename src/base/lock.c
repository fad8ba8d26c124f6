/* lock.c -- see lock.h. */
#include "base/lock.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_BYTES = 320 };

typedef struct {
  long pid; /* 0: the file says nothing */
  char host[128], job[64], token[PN_LOCK_TOKEN_BYTES];
  char boot[64]; /* of the kernel: the same machine, whatever containers call it; "" unknown */
  long restart;  /* of the job: 0, 1, ... */
} owner;

/* What one attempt works with. */
typedef struct {
  const char *folder;
  pn_lock *lock;
  owner me, last;
} attempt;

static pn_status make_token(char out[PN_LOCK_TOKEN_BYTES]) {
  unsigned long long bits;

  if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
    return PN_FAIL(PN_ERR_IO, "no random numbers: %s", strerror(errno));
  snprintf(out, PN_LOCK_TOKEN_BYTES, "%016llx", bits);
  return PN_OK;
}

static void read_boot(char out[64]) {
  FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");

  if (f && fscanf(f, "%63s", out) != 1) out[0] = '\0';
  if (f) fclose(f);
}

static pn_status myself(owner *o) {
  const char *job = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");

  *o = (owner){.pid = (long)getpid()};
  if (gethostname(o->host, sizeof o->host - 1) != 0 || !o->host[0]) strcpy(o->host, "?");
  snprintf(o->job, sizeof o->job, "%s", job && *job ? job : "-");
  o->restart = restart ? strtol(restart, NULL, 10) : 0;
  read_boot(o->boot);
  return make_token(o->token);
}

static bool same_machine(const owner *a, const owner *b) {
  return a->boot[0] && b->boot[0] ? strcmp(a->boot, b->boot) == 0 : strcmp(a->host, b->host) == 0;
}

static owner read_owner(int fd) {
  owner o = {0};
  char text[TEXT_BYTES];
  ssize_t n = pread(fd, text, sizeof text - 1, 0);

  text[n > 0 ? n : 0] = 0;
  if (sscanf(text, "%ld %127s %63s %ld %16s %63s", &o.pid, o.host, o.job, &o.restart, o.token,
             o.boot) < 2)
    o = (owner){0};
  return o;
}

static pn_status write_owner(int fd, const char *path, const owner *o) {
  char text[TEXT_BYTES];
  int n = snprintf(text, sizeof text, "%ld %s %s %ld %s %s\n", o->pid, o->host, o->job, o->restart,
                   o->token, o->boot);

  if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

/* The same Slurm job, started later: the other one must not go on. */
static bool supersedes(const owner *me, const owner *last) {
  return strcmp(me->job, "-") != 0 && strcmp(me->job, last->job) == 0 &&
         me->restart > last->restart;
}

static pn_status refuse_busy(const attempt *a) {
  return PN_FAIL(PN_ERR_ARG,
                 "another %s (process %ld on %s) is writing to %s: wait for it, or choose another "
                 "folder",
                 a->lock->what, a->last.pid, a->last.host[0] ? a->last.host : "this host",
                 a->folder);
}

static pn_status refuse_unknown(const attempt *a) {
  return PN_FAIL(PN_ERR_ARG,
                 "%s is locked by %s %s (process %ld on %s) that cannot be asked from here: if it "
                 "is at work, wait for it; if it has ended, remove %s and give the same command "
                 "again",
                 a->folder, strchr("aeiou", a->lock->what[0]) ? "an" : "a", a->lock->what,
                 a->last.pid, a->last.host[0] ? a->last.host : "an unknown host", a->lock->path);
}

/* The name may have been removed, or given to another file, between open and flock. */
static bool still_named(int fd, const char *path) {
  struct stat held, named;
  return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

/* A new file takes the name: whoever holds the old one will not find its token there. */
static pn_status take_over(attempt *a) {
  char tmp[PN_LOCK_PATH_BYTES + 32];
  pn_status st = PN_OK;
  int fd;

  snprintf(tmp, sizeof tmp, "%s.%s", a->lock->path, a->me.token);
  if ((fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644)) < 0)
    return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
  (void)flock(fd, LOCK_EX | LOCK_NB); /* nobody knows the file yet; without flock the name counts */
  st = write_owner(fd, tmp, &a->me);
  if (st == PN_OK && rename(tmp, a->lock->path) != 0)
    st = PN_FAIL(PN_ERR_IO, "cannot rename %s: %s", tmp, strerror(errno));
  if (st != PN_OK) {
    unlink(tmp);
    close(fd);
    return st;
  }
  a->lock->fd = fd;
  pn_info("%s: job %s was started again (%ld): it takes over from process %ld on %s", a->folder,
          a->me.job, a->me.restart, a->last.pid, a->last.host);
  return PN_OK;
}

/* flock is ours.  What did the last owner leave? */
static pn_status keep(attempt *a, int fd) {
  if (a->last.pid != 0 && !same_machine(&a->last, &a->me)) return refuse_unknown(a);
  if (a->last.pid != 0 && a->last.pid != a->me.pid)
    pn_info("%s: process %ld ended before its %s was complete; going on", a->folder, a->last.pid,
            a->lock->what);
  a->lock->fd = fd;
  return write_owner(fd, a->lock->path, &a->me);
}

/* PN_OK without a lock: the file was replaced meanwhile. */
static pn_status try_lock(attempt *a, bool created, int fd) {
  bool ours = flock(fd, LOCK_EX | LOCK_NB) == 0, busy = !ours && errno == EWOULDBLOCK;

  if (ours && !still_named(fd, a->lock->path)) return PN_OK;
  a->last = read_owner(fd);
  if (a->last.pid != 0 && supersedes(&a->me, &a->last)) return take_over(a);
  if (ours || (created && !busy)) return keep(a, fd); /* no flock here: the name is the lock */
  return busy ? refuse_busy(a) : refuse_unknown(a);
}

static pn_status attempt_once(attempt *a) {
  const char *path = a->lock->path;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  bool created = fd >= 0;
  pn_status st;

  if (!created) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot write to %s: %s", a->folder, strerror(errno));
  st = try_lock(a, created, fd);
  if (a->lock->fd != fd) close(fd);
  return st;
}

pn_status pn_lock_take(const char *folder, const char *name, const char *what, pn_lock *out) {
  attempt a = {.folder = folder, .lock = out};
  pn_status st = PN_OK;

  *out = (pn_lock){.fd = -1, .what = what};
  PN_TRY(pn_make_dirs(folder));
  PN_TRY(pn_path_join(out->path, sizeof out->path, folder, name));
  PN_TRY(myself(&a.me));
  memcpy(out->token, a.me.token, sizeof out->token);
  while (out->fd < 0) PN_TRY(attempt_once(&a));
done:
  if (st != PN_OK) pn_lock_release(out);
  return st;
}

static owner owner_now(const pn_lock *l) {
  owner o = {0};
  int fd = open(l->path, O_RDONLY | O_CLOEXEC);

  if (fd < 0) return o;
  o = read_owner(fd);
  close(fd);
  return o;
}

pn_status pn_lock_check(const pn_lock *l) {
  owner o;

  if (!l || l->fd < 0) return PN_OK;
  o = owner_now(l);
  if (strcmp(o.token, l->token) == 0) return PN_OK;
  if (o.pid == 0)
    return PN_FAIL(PN_ERR_IO,
                   "%s was removed: this %s stops, lest two of them write there; the same command "
                   "goes on from what is saved",
                   l->path, l->what);
  return PN_FAIL(PN_ERR_IO,
                 "process %ld on %s (job %s, start %ld) has taken over: this %s stops, lest two of "
                 "them write there; nothing is to be done (%s)",
                 o.pid, o.host, o.job[0] ? o.job : "-", o.restart, l->what, l->path);
}

void pn_lock_release(pn_lock *l) {
  if (l->fd < 0) return;
  if (strcmp(owner_now(l).token, l->token) == 0) unlink(l->path);
  close(l->fd);
  l->fd = -1;
}
