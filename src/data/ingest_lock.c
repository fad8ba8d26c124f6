/* ingest_lock.c -- one ingest per output folder.
 *
 * The lock is flock on OUT/.ingest.lock: the kernel gives it back when a process dies, so a killed
 * job is no obstacle for the next one on the same host.  The file also says who holds it, "PID
 * HOST", for the cases that flock cannot decide: another host, or a file system without locks. Then
 * we refuse and say which file to remove; a lock is never taken from somebody who may be alive. */
#include "data/ingest_out.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct owner {
  long pid; /* 0: the file says nothing */
  char host[128];
};

static pn_status lock_path(const char *out, char *path, size_t bytes) {
  return pn_path_join(path, bytes, out, ".ingest.lock");
}

static struct owner myself(void) {
  struct owner o = {.pid = (long)getpid()};
  if (gethostname(o.host, sizeof o.host - 1) != 0 || !o.host[0]) strcpy(o.host, "?");
  return o;
}

static struct owner read_owner(int fd) {
  struct owner o = {0};
  char text[192];
  ssize_t n = pread(fd, text, sizeof text - 1, 0);

  text[n > 0 ? n : 0] = 0;
  if (sscanf(text, "%ld %127s", &o.pid, o.host) != 2) o = (struct owner){0};
  return o;
}

static pn_status write_owner(int fd, const char *path) {
  struct owner o = myself();
  char text[192];
  int n = snprintf(text, sizeof text, "%ld %s\n", o.pid, o.host);

  if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) == n) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

static pn_status refuse_busy(const char *out, const struct owner *o) {
  return PN_FAIL(PN_ERR_ARG,
                 "another ingest (process %ld on %s) is writing to %s: wait for it, or choose "
                 "another folder",
                 o->pid, o->host[0] ? o->host : "this host", out);
}

static pn_status refuse_unknown(const char *out, const char *path, const struct owner *o) {
  return PN_FAIL(PN_ERR_ARG,
                 "%s is locked by an ingest (process %ld on %s) that cannot be asked from here: if "
                 "it is at work, wait for it; if it has ended, remove %s and give the same command "
                 "again",
                 out, o->pid, o->host[0] ? o->host : "an unknown host", path);
}

/* The name may have been removed, or given to another file, between open and flock. */
static bool still_named(int fd, const char *path) {
  struct stat held, named;
  return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
         held.st_ino == named.st_ino;
}

/* flock is ours.  What did the last owner leave? */
static pn_status check_last_owner(const char *out, const char *path, int fd) {
  struct owner last = read_owner(fd), me = myself();

  if (last.pid == 0) return PN_OK;
  if (strcmp(last.host, me.host) != 0) return refuse_unknown(out, path, &last);
  if (last.pid != me.pid)
    pn_info("%s: process %ld ended before its ingest was complete; going on", out, last.pid);
  return PN_OK;
}

/* PN_OK with *again: the file was replaced meanwhile. */
static pn_status try_lock(const char *out, const char *path, bool created, int fd, bool *again) {
  struct owner o;
  bool busy;

  *again = false;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
    *again = !still_named(fd, path);
    return *again ? PN_OK : check_last_owner(out, path, fd);
  }
  busy = errno == EWOULDBLOCK;
  o = read_owner(fd);
  if (busy) return refuse_busy(out, &o);
  return created ? PN_OK : refuse_unknown(out, path, &o); /* no flock here: the name is the lock */
}

pn_status pn_ingest_lock(const char *out, int *lock) {
  char path[PATH_MAX];
  bool created, again = true;
  int fd = -1;
  pn_status st;

  *lock = -1;
  PN_TRY(pn_make_dirs(out));
  PN_TRY(lock_path(out, path, sizeof path));
  while (again) {
    if (fd >= 0) close(fd);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    created = fd >= 0;
    if (!created) fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) PN_TRY(PN_FAIL(PN_ERR_IO, "cannot write to %s: %s", out, strerror(errno)));
    PN_TRY(try_lock(out, path, created, fd, &again));
  }
  *lock = fd;
  fd = -1;
  st = write_owner(*lock, path);
  if (st != PN_OK) {
    pn_ingest_unlock(out, *lock);
    *lock = -1;
  }
done:
  if (fd >= 0) close(fd);
  return st;
}

void pn_ingest_unlock(const char *out, int lock) {
  char path[PATH_MAX];

  if (lock < 0) return;
  if (lock_path(out, path, sizeof path) == PN_OK) unlink(path);
  close(lock);
}
