/* ingest_list.c -- rank 0: which kind of input it is, what it holds, how many channels. */
#include "base/file.h"
#include "base/log.h"
#include "data/kind.h"
#include "data/picture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_AT = 32 };

/* The kept entries as one text: "SIZE IMAGES SKIP_REASON_OR_- PATH\0" each. */
static pn_status join_entries(const pn_listing *l, pn_ingest_source *s) {
  FILE *f = open_memstream(&s->list, &s->list_bytes);
  bool failed;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  for (int64_t i = 0; i < l->n; i++) {
    const pn_list_entry *e = &l->entry[i];
    int64_t images = 1;
    if (e->dropped) continue;
    if (s->kind->images && !e->skip_reason) images = s->kind->images(e->path, e->size);
    fprintf(f, "%lld %lld %s %s%c", (long long)e->size, (long long)images,
            e->skip_reason ? e->skip_reason : "-", e->path, 0);
  }
  failed = ferror(f) != 0;
  if (fclose(f) != 0 || failed) return PN_FAIL(PN_ERR_NOMEM, "file list: out of memory");
  if (s->list_bytes > 0) return PN_OK;
  return PN_FAIL(PN_ERR_ARG, "%s holds no files for an input of kind %s (%s)", l->cfg->in,
                 s->kind->name, s->kind->what);
}

/* 1: the picture has colours; 0: it is grey or cannot be read. */
static int has_colour(const pn_listing *l, const pn_list_entry *e, pn_input *file,
                      pn_gray pixels[2]) {
  char path[PATH_MAX];
  pn_picture_info info = {0};
  pn_reject why = {0};

  if (pn_path_join(path, sizeof path, l->cfg->in, e->path) != PN_OK) return 0;
  if (pn_input_read(file, path, &why) != PN_OK || why.reason[0]) return 0;
  if (pn_picture_decode((pn_bytes){file->data, file->bytes}, &pixels[0], &pixels[1], &info, &why) !=
      PN_OK)
    return 0;
  return !why.reason[0] && info.colour;
}

/* 3 where most of some pictures, evenly over the list, have colours; else 1. */
static int look_for_colour(const pn_listing *l) {
  int64_t n = 0, k = 0, looked = 0, colours = 0;
  pn_gray pixels[2] = {{0}, {0}};
  pn_input file = {0};
  int channels;

  for (int64_t i = 0; i < l->n; i++) n += !l->entry[i].skip_reason && !l->entry[i].dropped;
  for (int64_t i = 0; i < l->n; i++) {
    if (l->entry[i].skip_reason || l->entry[i].dropped) continue;
    k++;
    if (n > LOOK_AT && k > 1 && (k - 1) * LOOK_AT / n == (k - 2) * LOOK_AT / n) continue;
    looked++;
    colours += has_colour(l, &l->entry[i], &file, pixels);
  }
  channels = 2 * colours > looked ? 3 : 1;
  pn_info("channels: %d (%lld of %lld pictures looked at have colours; ingest.channels=1 or 3 "
          "decides otherwise)",
          channels, (long long)colours, (long long)looked);
  pn_input_free(&file);
  pn_gray_free(&pixels[0]);
  pn_gray_free(&pixels[1]);
  return channels;
}

static pn_status choose_kind(const pn_listing *l, pn_ingest_source *s) {
  const char *name = l->cfg->kind;
  char found[PN_FOUND_BYTES] = "";
  int kind = pn_kind_find(name);
  pn_status st = PN_OK;

  if (strcmp(name, "auto") == 0) {
    if ((st = pn_kind_detect(l, &kind, found)) != PN_OK) return st;
    pn_info("%s is of kind %s: %s", l->cfg->in, pn_kind_get(kind)->name, found);
  }
  s->kind = pn_kind_get(kind);
  return s->kind ? PN_OK : PN_FAIL(PN_ERR_ARG, "ingest.kind=%s: there is no such kind", name);
}

pn_status pn_ingest_list(const pn_ingest_config *cfg, pn_ingest_source *s) {
  pn_listing l = {0};
  pn_status st;

  PN_TRY(pn_listing_make(cfg, &l));
  PN_TRY(choose_kind(&l, s));
  PN_TRY(s->kind->open(&l, s));
  PN_TRY(join_entries(&l, s));
  s->channels = cfg->channels       ? cfg->channels
                : s->kind->channels ? s->kind->channels
                                    : look_for_colour(&l);
done:
  pn_listing_free(&l);
  return st;
}
