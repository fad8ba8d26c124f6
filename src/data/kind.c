/* kind.c -- the table of input kinds, and which of them a folder is. */
#include "data/kind.h"

#include <stdio.h>
#include <string.h>

/* In the order in which auto tries them. */
static const pn_kind *const kinds[] = {&pn_kind_rsna, &pn_kind_cifar10, &pn_kind_dicom,
                                       &pn_kind_csv, &pn_kind_folders};

int pn_kind_count(void) {
  return (int)(sizeof kinds / sizeof *kinds);
}

const pn_kind *pn_kind_get(int i) {
  return i >= 0 && i < pn_kind_count() ? kinds[i] : NULL;
}

int pn_kind_find(const char *name) {
  for (int i = 0; i < pn_kind_count(); i++)
    if (strcmp(kinds[i]->name, name) == 0) return i;
  return -1;
}

static int64_t candidates(const pn_listing *l) {
  int64_t n = 0;
  for (int64_t i = 0; i < l->n; i++) n += !l->entry[i].skip_reason;
  return n;
}

/* What to do about a folder that is none of the kinds. */
static const char *advice(const pn_listing *l) {
  if (l->dicoms > 0)
    return "DICOM files need labels: ingest.labels=FILE, a CSV with a column for the class and one "
           "for the path or PatientID (RSNA: stage_2_train_labels.csv in the folder)";
  if (l->pictures > 0)
    return "pictures need labels: put each class into a folder of its own (with train/, val/, "
           "test/ above if there are), or give ingest.labels=FILE, a CSV with the columns path and "
           "label";
  return "expected an RSNA folder (stage_2_train_labels.csv, stage_2_train_images), CIFAR-10 "
         "batches, class folders, or images with a labels CSV (ingest.labels=FILE)";
}

pn_status pn_kind_detect(const pn_listing *l, int *kind, char found[PN_FOUND_BYTES]) {
  for (*kind = 0; *kind < pn_kind_count(); ++*kind)
    if (kinds[*kind]->detect(l, found)) return PN_OK;
  for (int64_t i = 0; i < l->n; i++)
    if (l->entry[i].skip_reason && strcmp(l->entry[i].skip_reason, "archive") == 0)
      return PN_FAIL(PN_ERR_ARG,
                     "%s holds no images, but an archive: unpack it first with %s %s/%s",
                     l->cfg->in, pn_unpack_command(l->entry[i].path), l->cfg->in, l->entry[i].path);
  return PN_FAIL(PN_ERR_ARG,
                 "%s: not recognised (%lld files; of %lld looked at %lld PNG or JPEG, %lld DICOM): "
                 "%s",
                 l->cfg->in, (long long)candidates(l), (long long)l->looked, (long long)l->pictures,
                 (long long)l->dicoms, advice(l));
}
