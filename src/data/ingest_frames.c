/* ingest_frames.c -- ingest.frames=all: every frame of a DICOM file is an image of the list.  How
 * many there are stands in the file, so all ranks open their share of the files before the list is
 * cut into pieces. */
#include "base/file.h"
#include "data/kind.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One entry of the list: "SIZE IMAGES SKIP PATH\0". */
struct entry {
  const char *size, *skip, *path; /* the texts from there on */
};

static struct entry entry_at(const char *text) {
  struct entry e = {.size = text};
  e.skip = strchr(strchr(text, ' ') + 1, ' ') + 1;
  e.path = strchr(e.skip, ' ') + 1;
  return e;
}

static int64_t count_entries(const pn_ingest_source *s) {
  int64_t n = 0;
  for (const char *p = s->list; p < s->list + s->list_bytes; p += strlen(p) + 1) n++;
  return n;
}

/* A file that cannot be opened, or is no DICOM, counts as one image; reading it will say why. */
static pn_status count_file(const pn_ingest *x, pn_dicom_reader *r, const char *name, int64_t *n) {
  char path[PATH_MAX];
  pn_reject why = {0};
  pn_status st = pn_path_join(path, sizeof path, x->cfg->in, name);

  if (st == PN_OK) st = pn_dicom_open(r, path, &why);
  if (st == PN_OK && !why.reason[0]) *n = pn_dicom_frames(r);
  return st;
}

/* count[i], of every size-th entry; the others stay 0. */
static pn_status count_share(const pn_ingest *x, int64_t *count) {
  const pn_ingest_source *s = &x->source;
  int rank = pn_comm_rank(x->comm), size = pn_comm_size(x->comm);
  pn_dicom_reader *r = NULL;
  int64_t i = 0;
  pn_status st = PN_OK;

  PN_TRY(pn_dicom_reader_create(&r));
  pn_dicom_reader_rules(r, &x->cfg->dicom);
  for (const char *p = s->list; p < s->list + s->list_bytes; p += strlen(p) + 1, i++) {
    struct entry e = entry_at(p);
    if (i % size != rank) continue;
    count[i] = 1;
    pn_watchdog_enter(e.path, 0);
    if (*e.skip == '-') st = count_file(x, r, e.path, &count[i]);
    pn_watchdog_leave();
    if (st != PN_OK) goto done;
  }
done:
  pn_dicom_reader_destroy(r);
  return st;
}

/* The list again, with these numbers of images. */
static pn_status write_counts(pn_ingest_source *s, const int64_t *count) {
  char *text = NULL;
  size_t bytes = 0;
  FILE *f = open_memstream(&text, &bytes);
  bool failed;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  for (const char *p = s->list; p < s->list + s->list_bytes; p += strlen(p) + 1) {
    struct entry e = entry_at(p);
    fprintf(f, "%lld %lld %s%c", strtoll(e.size, NULL, 10), (long long)*count++, e.skip, 0);
  }
  failed = ferror(f) != 0;
  if (fclose(f) != 0 || failed) {
    free(text);
    return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  }
  free(s->list);
  s->list = text;
  s->list_bytes = bytes;
  return PN_OK;
}

pn_status pn_ingest_count_frames(pn_ingest *x) {
  int64_t n = count_entries(&x->source), *count = NULL;
  pn_status st;

  if (x->cfg->dicom.frames != PN_FRAMES_ALL || x->source.kind->images) return PN_OK;
  count = calloc((size_t)n + 1, sizeof *count);
  st = count ? count_share(x, count) : PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  PN_TRY(pn_agree(x->comm, st));
  if (n > 0) PN_TRY(pn_allreduce(x->comm, "ingest frames", count, n, PN_I64, PN_SUM));
  PN_TRY(pn_agree(x->comm, write_counts(&x->source, count)));
done:
  free(count);
  return st;
}

pn_status pn_ingest_read_dicom(pn_ingest_worker *w, int64_t file, pn_dicom_info *info,
                               pn_reject *why) {
  const pn_ingest_file *f = &w->x->source.file[file];
  char path[PATH_MAX];
  pn_status st;

  *info = (pn_dicom_info){.age_years = -1};
  if (w->loaded != f->path) {
    w->loaded = NULL;
    if ((st = pn_path_join(path, sizeof path, w->x->cfg->in, f->path)) != PN_OK) return st;
    st = pn_dicom_open(w->reader, path, why);
    if (st != PN_OK || why->reason[0]) return st;
    w->loaded = f->path;
  }
  if (w->x->cfg->dicom.frames == PN_FRAMES_ALL && pn_dicom_frames(w->reader) != f->of) {
    pn_reject_set(why, "file_changed", "(0028,0008)", "%lld frames, %lld when it was listed",
                  (long long)pn_dicom_frames(w->reader), (long long)f->of);
    return PN_OK;
  }
  return pn_dicom_read_frame(w->reader, f->number, info, &w->image, why);
}
