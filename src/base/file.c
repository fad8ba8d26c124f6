/* file.c -- read and publish files; every return code is checked. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static pn_status read_all(int fd, const char *path, char *buf, size_t bytes) {
  for (size_t got = 0; got < bytes;) {
    ssize_t n = read(fd, buf + got, bytes - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return PN_FAIL(PN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    if (n == 0) return PN_FAIL(PN_ERR_IO, "%s shrank while it was read", path);
    got += (size_t)n;
  }
  return PN_OK;
}

pn_status pn_file_read(const char *path, char **out, size_t *bytes) {
  pn_status st = PN_OK;
  struct stat info;
  char *buf = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

  *out = NULL;
  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    st = PN_FAIL(PN_ERR_IO, "%s is not a regular file", path);
    goto done;
  }
  if (!(buf = malloc((size_t)info.st_size + 1))) {
    st = PN_FAIL(PN_ERR_NOMEM, "%s: %lld bytes", path, (long long)info.st_size);
    goto done;
  }
  PN_TRY(read_all(fd, path, buf, (size_t)info.st_size));
  buf[info.st_size] = '\0';
  if (bytes) *bytes = (size_t)info.st_size;
  *out = buf;
  buf = NULL;
done:
  free(buf);
  close(fd);
  return st;
}

static pn_status sync_path(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC), rc;
  if (fd < 0) return PN_FAIL(PN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
  rc = fsync(fd);
  if (close(fd) != 0 || rc != 0)
    return PN_FAIL(PN_ERR_IO, "cannot sync %s: %s", path, strerror(errno));
  return PN_OK;
}

pn_status pn_file_publish(const char *tmp, const char *path) {
  char dir[PATH_BYTES];
  char *slash;
  pn_status st = sync_path(tmp, O_RDONLY);

  if (st != PN_OK) return st;
  if (rename(tmp, path) != 0)
    return PN_FAIL(PN_ERR_IO, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
  if ((size_t)snprintf(dir, sizeof dir, "%s", path) >= sizeof dir)
    return PN_FAIL(PN_ERR_ARG, "path too long: %s", path);
  slash = strrchr(dir, '/');
  if (slash == dir)
    slash[1] = '\0';
  else if (slash)
    *slash = '\0';
  return sync_path(slash ? dir : ".", O_RDONLY | O_DIRECTORY);
}

static pn_status write_tmp(const char *tmp, const void *data, size_t bytes) {
  FILE *f = fopen(tmp, "wb");
  bool good;

  if (!f) return PN_FAIL(PN_ERR_IO, "cannot create %s: %s", tmp, strerror(errno));
  good = fwrite(data, 1, bytes, f) == bytes;
  if (fclose(f) == 0 && good) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", tmp, strerror(errno));
}

static pn_status write_file(const char *path, const void *data, size_t bytes, bool sync) {
  char tmp[PATH_BYTES];
  pn_status st;

  if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp.%ld", path, (long)getpid()) >= sizeof tmp)
    return PN_FAIL(PN_ERR_ARG, "path too long: %s", path);
  st = write_tmp(tmp, data, bytes);
  if (st == PN_OK && sync) st = pn_file_publish(tmp, path);
  if (st == PN_OK && !sync && rename(tmp, path) != 0)
    st = PN_FAIL(PN_ERR_IO, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
  if (st != PN_OK) unlink(tmp);
  return st;
}

pn_status pn_file_write(const char *path, const void *data, size_t bytes) {
  return write_file(path, data, bytes, true);
}

pn_status pn_file_write_unsynced(const char *path, const void *data, size_t bytes) {
  return write_file(path, data, bytes, false);
}

pn_status pn_file_sync(const char *path) {
  return sync_path(path, O_RDONLY);
}

pn_status pn_make_dirs(const char *path) {
  char part[PATH_BYTES];
  struct stat info;
  size_t n = strlen(path);

  if (n == 0 || n >= sizeof part) return PN_FAIL(PN_ERR_ARG, "bad path '%s'", path);
  memcpy(part, path, n + 1);
  for (size_t i = 1; i <= n; i++) {
    if (part[i] != '/' && part[i] != '\0') continue;
    part[i] = '\0';
    if (mkdir(part, 0777) != 0 &&
        (errno != EEXIST || stat(part, &info) != 0 || !S_ISDIR(info.st_mode)))
      return PN_FAIL(PN_ERR_IO, "cannot make folder %s: %s; expected %s", part,
                     errno == EEXIST ? "a file of that name is there" : strerror(errno),
                     "a path where you may make folders: choose another");
    part[i] = path[i];
  }
  return PN_OK;
}

bool pn_file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

pn_status pn_path_join(char *out, size_t out_bytes, const char *dir, const char *name) {
  if ((size_t)snprintf(out, out_bytes, "%s/%s", dir, name) >= out_bytes)
    return PN_FAIL(PN_ERR_ARG, "path too long: %s/%s", dir, name);
  return PN_OK;
}
