/* dicom_file.c -- one input file into memory: no FIFO can block it, no changing file slips by. */
#include "data/dicom_raw.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RETRIES = 3 };
#define MAX_FILE_BYTES ((size_t)1 << 29) /* 512 MB; the parser keeps a copy of the pixels */

/* A network file system may fail once and work again. */
static bool transient(int error) {
  return error == EIO || error == ESTALE || error == ETIMEDOUT;
}

static const char *open_reason(int error) {
  if (error == EACCES || error == EPERM) return "permission_denied";
  if (error == ENOENT) return "file_vanished";
  if (error == ELOOP) return "link_loop";
  return "cannot_open";
}

static pn_status grow(pn_input *in, size_t need) {
  uint8_t *data;

  if (need <= in->capacity) return PN_OK;
  if (!(data = realloc(in->data, need + need / 4)))
    return PN_FAIL(PN_ERR_NOMEM, "input file of %zu bytes: out of memory", need);
  in->data = data;
  in->capacity = need + need / 4;
  return PN_OK;
}

static bool check_regular(const struct stat *s, pn_reject *why) {
  if (S_ISDIR(s->st_mode)) return pn_reject_set(why, "directory", NULL, "is a folder");
  if (!S_ISREG(s->st_mode))
    return pn_reject_set(why, "not_a_regular_file", NULL, "FIFO, socket or device");
  if (s->st_size == 0) return pn_reject_set(why, "empty_file", NULL, "0 bytes");
  if ((uint64_t)s->st_size > MAX_FILE_BYTES)
    return pn_reject_set(why, "file_too_large", NULL, "%lld bytes", (long long)s->st_size);
  return false;
}

/* true: rejected, or (errno transient) worth another try. */
static bool read_all(int fd, pn_input *in, size_t bytes, pn_reject *why) {
  size_t got = 0;

  while (got < bytes) {
    ssize_t n = read(fd, in->data + got, bytes - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return pn_reject_set(why, "read_error", NULL, "%s", strerror(errno));
    errno = 0;
    if (n == 0)
      return pn_reject_set(why, "file_changed", NULL, "%zu bytes, expected %zu", got, bytes);
    got += (size_t)n;
  }
  in->bytes = bytes;
  return false;
}

static pn_status read_once(pn_input *in, const char *path, pn_reject *why) {
  struct stat before, after;
  pn_status st = PN_OK;
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

  if (fd < 0) {
    pn_reject_set(why, open_reason(errno), NULL, "%s", strerror(errno));
    return PN_OK;
  }
  if (fstat(fd, &before) != 0) {
    pn_reject_set(why, "read_error", NULL, "%s", strerror(errno));
    goto done;
  }
  if (check_regular(&before, why)) goto done;
  PN_TRY(grow(in, (size_t)before.st_size + 1));
  if (read_all(fd, in, (size_t)before.st_size, why)) goto done;
  if (fstat(fd, &after) != 0 || after.st_size != before.st_size ||
      after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
      after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
    pn_reject_set(why, "file_changed", NULL, "size or time changed while it was read");
done:
  close(fd);
  return st;
}

pn_status pn_input_read(pn_input *in, const char *path, pn_reject *why) {
  for (int try = 0;; try++) {
    pn_status st;
    int error;

    *why = (pn_reject){0};
    errno = 0;
    st = read_once(in, path, why);
    error = errno;
    if (st != PN_OK || !why->reason[0] || !transient(error) || try == RETRIES) return st;
    pn_sleep(0.05 * (double)(1 << try));
  }
}

void pn_input_free(pn_input *in) {
  if (!in) return;
  free(in->data);
  *in = (pn_input){0};
}

bool pn_input_sniff(const uint8_t *data, size_t bytes, pn_reject *why) {
  static const struct {
    const char *magic;
    size_t bytes;
    const char *what;
  } known[] = {
      {"\x89PNG", 4, "looks like PNG"},
      {"\xFF\xD8\xFF", 3, "looks like JPEG"},
      {"GIF8", 4, "looks like GIF"},
      {"\x1F\x8B", 2, "looks like gzip: unpack it with gunzip"},
      {"PK\x03\x04", 4, "looks like zip: unpack it with unzip"},
      {"BZh", 3, "looks like bzip2: unpack it with bunzip2"},
      {"\xFD"
       "7zXZ",
       5, "looks like xz: unpack it with unxz"},
      {"%PDF", 4, "looks like PDF"},
      {"\x89HDF", 4, "looks like HDF5"},
  };

  if (bytes >= 132 && memcmp(data + 128, "DICM", 4) == 0) return false;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (bytes >= known[i].bytes && memcmp(data, known[i].magic, known[i].bytes) == 0)
      return pn_reject_set(why, "not_dicom", NULL, "%s", known[i].what);
  if (bytes >= 4 && memcmp(data, "\0\5\x16\7", 4) == 0)
    return pn_reject_set(why, "junk_file", NULL, "AppleDouble");
  return false;
}
