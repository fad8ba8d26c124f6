/* synth.c -- a folder of phantoms in the RSNA layout, shared out over the ranks. */
#include "data/synth.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "data/dicom.h"
#include "data/jpeg_encode.h"
#include "data/synth_chest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, UID_BYTES = 64 };

static const char images_name[] = "stage_2_train_images";
static const char labels_name[] = "stage_2_train_labels.csv";
static const char classes_name[] = "stage_2_detailed_class_info.csv";

pn_synth_config pn_synth_defaults(void) {
  return (pn_synth_config){
      .images = 400, .seed = 1, .positives = 0.4, .normals = 0.5, .contrast = 1, .quality = 84};
}

const char *pn_synth_class_name(pn_synth_class cls) {
  static const char *const names[] = {"Normal", "No Lung Opacity / Not Normal", "Lung Opacity"};
  return names[cls];
}

static bool within(double x, double lo, double hi) {
  return x >= lo && x <= hi; /* false for NaN */
}

static pn_status check_config(const pn_synth_config *cfg) {
  if (cfg->images < 1)
    return PN_FAIL(PN_ERR_ARG, "synth: %lld images; expected 1 or more", (long long)cfg->images);
  if (!within(cfg->positives, 0, 1) || !within(cfg->normals, 0, 1))
    return PN_FAIL(PN_ERR_ARG, "synth: shares positives=%g, normals=%g; expected 0..1",
                   cfg->positives, cfg->normals);
  if (!within(cfg->contrast, 0.1, 4))
    return PN_FAIL(PN_ERR_ARG, "synth: contrast=%g; expected 0.1..4", cfg->contrast);
  if (cfg->quality < 1 || cfg->quality > 100)
    return PN_FAIL(PN_ERR_ARG, "synth: JPEG quality=%d; expected 1..100", cfg->quality);
  return PN_OK;
}

pn_status pn_synth_describe(const pn_synth_config *cfg, int64_t i, pn_synth_case *out) {
  pn_status st = check_config(cfg);
  pn_chest *chest;

  if (st != PN_OK) return st;
  if (i < 0 || i >= cfg->images)
    return PN_FAIL(PN_ERR_ARG, "synth: image %lld of %lld", (long long)i, (long long)cfg->images);
  if (!(chest = malloc(sizeof *chest)))
    return PN_FAIL(PN_ERR_NOMEM, "synth: image %lld: out of memory", (long long)i);
  pn_chest_make(cfg, i, out, chest);
  free(chest);
  return PN_OK;
}

/* "2.25." and 128 random bits in decimal: a legal UID that needs no registered root. */
static void make_uid(pn_rng *rng, char uid[UID_BYTES]) {
  uint32_t word[4];
  char digits[40], *p = digits + sizeof digits;
  bool zero = false;

  for (int k = 0; k < 4; k++) word[k] = pn_rng_u32(rng);
  *--p = '\0';
  while (!zero && p > digits) {
    uint64_t rest = 0;
    zero = true;
    for (int k = 0; k < 4; k++) {
      uint64_t x = rest << 32 | word[k];
      word[k] = (uint32_t)(x / 10);
      rest = x % 10;
      zero = zero && word[k] == 0;
    }
    *--p = (char)('0' + rest);
  }
  snprintf(uid, UID_BYTES, "2.25.%s", p);
}

/* The folder may exist, but must be empty: nothing of another data set is mixed in or lost. */
static pn_status claim_folder(const char *out) {
  char images[PATH_BYTES];
  struct dirent *entry;
  pn_status st = PN_OK;
  DIR *dir;

  if (!out || !*out) return PN_FAIL(PN_ERR_ARG, "synth: no output folder given");
  PN_TRY(pn_make_dirs(out));
  if (!(dir = opendir(out)))
    return PN_FAIL(PN_ERR_IO, "cannot open folder %s: %s", out, strerror(errno));
  while (st == PN_OK && (entry = readdir(dir)))
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      st = PN_FAIL(PN_ERR_ARG,
                   "folder %s already holds files (%s); name a new folder or remove this one", out,
                   entry->d_name);
  closedir(dir);
  PN_TRY(st);
  PN_TRY(pn_path_join(images, sizeof images, out, images_name));
  PN_TRY(pn_make_dirs(images));
done:
  return st;
}

/* Write under a temporary name and rename; returns the size of the file. */
static pn_status write_dicom(const pn_dicom_rsna *image, const char *dir, int64_t *bytes) {
  char path[PATH_BYTES], tmp[PATH_BYTES + 8];
  struct stat info;
  pn_status st = PN_OK;

  if ((size_t)snprintf(path, sizeof path, "%s/%s/%s.dcm", dir, images_name, image->id) >=
      sizeof path)
    return PN_FAIL(PN_ERR_ARG, "path too long: %s", dir);
  snprintf(tmp, sizeof tmp, "%s.tmp", path);
  PN_TRY(pn_dicom_write_rsna(tmp, image));
  if (stat(tmp, &info) != 0 || rename(tmp, path) != 0) {
    st = PN_FAIL(PN_ERR_IO, "cannot rename %s: %s", tmp, strerror(errno));
    goto done;
  }
  *bytes = info.st_size;
done:
  if (st != PN_OK) unlink(tmp);
  return st;
}

static pn_status write_image(const pn_synth_config *cfg, int64_t i, uint8_t *pixels,
                             int64_t *bytes) {
  char uid[3][UID_BYTES];
  pn_rng rng = pn_rng_make(cfg->seed, PN_RNG_SYNTH, (uint64_t)i, PN_PART_UID);
  pn_synth_case info;
  uint8_t *jpeg = NULL;
  size_t jpeg_bytes = 0;
  pn_dicom_rsna image;
  pn_status st = PN_OK;

  for (int k = 0; k < 3; k++) make_uid(&rng, uid[k]);
  PN_TRY(pn_synth_describe(cfg, i, &info));
  PN_TRY(pn_synth_draw(cfg, i, pixels));
  PN_TRY(
      pn_jpeg_encode_grey(pixels, PN_SYNTH_SIDE, PN_SYNTH_SIDE, cfg->quality, &jpeg, &jpeg_bytes));
  image = (pn_dicom_rsna){.id = info.id,
                          .sop_uid = uid[0],
                          .study_uid = uid[1],
                          .series_uid = uid[2],
                          .sex = info.sex,
                          .age = info.age,
                          .ap = info.ap,
                          .spacing_mm = info.spacing_mm,
                          .rows = PN_SYNTH_SIDE,
                          .columns = PN_SYNTH_SIDE,
                          .jpeg = jpeg,
                          .jpeg_bytes = jpeg_bytes};
  PN_TRY(write_dicom(&image, cfg->out, bytes));
done:
  free(jpeg);
  return st;
}

/* The images of this rank: rank, rank + size, ... */
static pn_status write_images(const pn_synth_config *cfg, int rank, int size, int64_t *bytes) {
  uint8_t *pixels = malloc((size_t)PN_SYNTH_SIDE * PN_SYNTH_SIDE);
  pn_progress progress;
  pn_status st = PN_OK;

  if (!pixels) return PN_FAIL(PN_ERR_NOMEM, "synth: one image: out of memory");
  pn_progress_start(&progress, "synth", "images", cfg->images);
  for (int64_t i = rank; i < cfg->images; i += size) {
    int64_t n = 0;
    PN_TRY(write_image(cfg, i, pixels, &n));
    *bytes += n;
    pn_progress_update(&progress, i + 1, NULL);
  }
done:
  pn_progress_end(&progress);
  free(pixels);
  return st;
}

static void add_rows(const pn_synth_case *c, FILE *labels, FILE *classes) {
  for (int k = 0; k < c->n_boxes; k++) {
    const pn_synth_box *b = &c->box[k];
    fprintf(labels, "%s,%.1f,%.1f,%.1f,%.1f,1\n", c->id, (double)b->x, (double)b->y,
            (double)b->width, (double)b->height);
  }
  if (c->n_boxes == 0) fprintf(labels, "%s,,,,,0\n", c->id);
  /* as in the real set, this file has a row for each row of the other */
  for (int k = 0; k < (c->n_boxes > 0 ? c->n_boxes : 1); k++)
    fprintf(classes, "%s,%s\n", c->id, pn_synth_class_name(c->cls));
}

static pn_status save_text(FILE **f, const char *dir, const char *name, char **text,
                           const size_t *bytes) {
  char path[PATH_BYTES];
  int bad = ferror(*f) | fclose(*f);
  pn_status st;

  *f = NULL;
  if (bad) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", name);
  st = pn_path_join(path, sizeof path, dir, name);
  return st == PN_OK ? pn_file_write(path, *text, *bytes) : st;
}

static pn_status write_tables(const pn_synth_config *cfg, pn_synth_result *sum) {
  char *text[2] = {NULL, NULL};
  size_t bytes[2] = {0, 0};
  FILE *labels = open_memstream(&text[0], &bytes[0]);
  FILE *classes = open_memstream(&text[1], &bytes[1]);
  pn_status st = PN_OK;

  if (!labels || !classes) {
    st = PN_FAIL(PN_ERR_NOMEM, "synth: label files: out of memory");
    goto done;
  }
  fprintf(labels, "patientId,x,y,width,height,Target\n");
  fprintf(classes, "patientId,class\n");
  for (int64_t i = 0; i < cfg->images; i++) {
    pn_synth_case c;
    PN_TRY(pn_synth_describe(cfg, i, &c));
    sum->positives += c.cls == PN_SYNTH_OPACITY;
    sum->boxes += c.n_boxes;
    add_rows(&c, labels, classes);
  }
  PN_TRY(save_text(&classes, cfg->out, classes_name, &text[1], &bytes[1]));
  PN_TRY(save_text(&labels, cfg->out, labels_name, &text[0], &bytes[0]));
done:
  if (labels) fclose(labels);
  if (classes) fclose(classes);
  free(text[0]);
  free(text[1]);
  return st;
}

static pn_status prepare(const pn_synth_config *cfg, int rank) {
  pn_status st = check_config(cfg);
  return st == PN_OK && rank == 0 ? claim_folder(cfg->out) : st;
}

pn_status pn_synth_run(const pn_synth_config *cfg, pn_comm *c, pn_synth_result *result) {
  int rank = pn_comm_rank(c);
  double t0 = pn_now();
  int64_t sums[3] = {0, 0, 0}; /* bytes, positives, boxes */
  pn_status st;

  *result = (pn_synth_result){.images = cfg->images};
  PN_TRY(pn_agree(c, prepare(cfg, rank)));
  PN_TRY(pn_agree(c, write_images(cfg, rank, pn_comm_size(c), &sums[0])));
  PN_TRY(pn_agree(c, rank == 0 ? write_tables(cfg, result) : PN_OK)); /* last: all images exist */
  sums[1] = result->positives;
  sums[2] = result->boxes;
  PN_TRY(pn_allreduce(c, "synth totals", sums, 3, PN_I64, PN_SUM));
  result->bytes = sums[0];
  result->positives = sums[1];
  result->boxes = sums[2];
  result->seconds = pn_now() - t0;
  result->images_per_s = (double)cfg->images / result->seconds;
done:
  return st;
}
