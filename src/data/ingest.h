/* ingest.h -- files in, HDF5 shards and index.json out, by all ranks of a communicator. */
#ifndef PN_DATA_INGEST_H
#define PN_DATA_INGEST_H

#include "base/status.h"
#include "comm/comm.h"
#include "data/dataset.h"
#include "data/dicom.h"
#include "data/geometry.h"

#include <jansson.h>
#include <stdint.h>

enum { PN_INGEST_MAX_CLASSES = 128, PN_INGEST_NAME_BYTES = 48 };

/* Options; strings borrowed.  pn_ingest_config_init gives the defaults named here. */
typedef struct {
  const char *in, *out; /* folders */
  const char *kind;     /* "auto", or a name of the table in kind.c */
  const char *labels;   /* ingest.labels: the labels CSV; "" = in `in` */
  const char *classes;  /* ingest.classes: stage_2_detailed_class_info.csv; "" = beside the labels,
                           left out when it is not there and `labels` was given */
  const char *groups;   /* ingest.groups: RSNA's mapping to NIH patients; "" = beside the labels */
  const char *columns;  /* ingest.columns: "path=file,label=diagnosis"; "" = by their names */
  const char *only;     /* ingest.only: classes to keep, in this order; "" = all */
  const char *test_fold, *val_fold; /* ingest.test_fold, ingest.val_fold; "" = none */
  int channels;                     /* ingest.channels: 1, 3; 0 = auto */
  bool new_splits;              /* ingest.splits=new: splits that came with the data are not used */
  bool reject_leaks;            /* ingest.leaks=reject: patients in several given splits */
  const char *salt;             /* ingest.salt: goes into the hashed ids; "pneuma" */
  int64_t height, width;        /* --size; 128 x 128 */
  int bits;                     /* ingest.bits: of a stored pixel, 8 or 16; 8 */
  pn_fit fit;                   /* ingest.fit; stretch */
  uint64_t seed;                /* ingest.seed, of the split; 1 */
  double val_share, test_share; /* ingest.val 0.15, ingest.test 0.15; their sum < 1 */
  int64_t shard_mb;             /* ingest.shard_mb, 1..4096: most MB of pixels in a shard; 512 */
  int64_t max_rejects;          /* ingest.max_rejects: more rejected files fail the job; -1 = off */
  bool require_labels;          /* ingest.require_labels: a file without label fails the job */
  pn_dicom_rules dicom;         /* ingest.frames, ingest.window, ingest.burned_in; {0} */
} pn_ingest_config;

/* Fields of `ingest --json`, and a little more. */
typedef struct {
  char kind[PN_INGEST_NAME_BYTES];
  int64_t listed, written, rejected, duplicates, skipped; /* listed = sum of the others */
  int64_t shards, bytes;                                  /* bytes of the shard files */
  double seconds, images_per_s;                           /* written / seconds */
  int n_classes;
  char class_name[PN_INGEST_MAX_CLASSES][PN_INGEST_NAME_BYTES];
  int64_t class_count[PN_INGEST_MAX_CLASSES];
  int64_t split_count[PN_SPLIT_COUNT];
  int64_t labels_without_file; /* ids of the CSV that no file carries */
  int64_t bad_label_rows;      /* boxes left out: see rejects.csv */
  int64_t leaks;               /* images of a patient, or pixels, in several given splits */
  int channels;
  char digest[65];
  int64_t resumed;       /* pieces taken over from an earlier try that did not end */
  int64_t peak_bytes;    /* memory of the largest rank */
  bool already_complete; /* `out` held this very ingest: nothing was done */
} pn_ingest_result;

void pn_ingest_config_init(pn_ingest_config *cfg);

/* Collective.  Same bytes at any number of ranks.  Errors: ARG (options, missing or unreadable
 * input, `out` holds something else), FORMAT (CSV; no usable image; too many rejects), IO,
 * UNSUPPORTED. */
pn_status pn_ingest_run(const pn_ingest_config *cfg, pn_comm *c, pn_ingest_result *out);
json_t *pn_ingest_result_json(const pn_ingest_result *r); /* new reference; NULL: out of memory */

#endif
