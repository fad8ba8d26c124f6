/* kind.h -- the layouts of input folders that ingest knows; one row of the table in kind.c and one
 * file kind_*.c each.  Private to the ingest. */
#ifndef PN_DATA_KIND_H
#define PN_DATA_KIND_H

#include "data/ingest_image.h"
#include "data/ingest_internal.h"

enum { PN_FOUND_BYTES = 400 };

/* One name below the input folder. */
typedef struct {
  char *path;              /* relative to config.in; owned */
  int64_t size;            /* bytes */
  const char *skip_reason; /* not to be opened: why; NULL = a candidate */
  bool dropped;            /* not part of the input at all: not even counted */
} pn_list_entry;

/* Rank 0: everything below the input folder. */
typedef struct {
  const pn_ingest_config *cfg;
  pn_list_entry *entry; /* [n], sorted by path; owned */
  int64_t n;
  int64_t looked, pictures, dicoms; /* of some candidates, by their first bytes */
} pn_listing;

typedef struct pn_kind {
  const char *name; /* as in ingest.kind */
  const char *what; /* the layout, for messages */
  int channels;     /* of its images; 0: look at some */
  /* Rank 0: is it this layout?  found: what was seen, for the user. */
  bool (*detect)(const pn_listing *l, char found[PN_FOUND_BYTES]);
  /* Rank 0: read the texts that go with it, mark the entries that are no images. */
  pn_status (*open)(pn_listing *l, pn_ingest_source *s);
  /* All ranks: labels and classes; s->file[].label where a file is known by its name. */
  pn_status (*prepare)(pn_ingest *x);
  /* One image: worker.image, info, label; or why not. */
  pn_status (*read)(pn_ingest_worker *w, int64_t file, pn_ingest_image *image, pn_reject *why);
  /* Images in a file of that name and size; NULL: one. */
  int64_t (*images)(const char *path, int64_t size);
} pn_kind;

extern const pn_kind pn_kind_rsna, pn_kind_cifar10, pn_kind_dicom, pn_kind_csv, pn_kind_folders;

int pn_kind_count(void);
const pn_kind *pn_kind_get(int i);
int pn_kind_find(const char *name); /* -1: there is none of that name */
/* Rank 0, ingest.kind=auto: the first kind whose detect says yes.  Errors: ARG, says what is there
 * and what to do. */
pn_status pn_kind_detect(const pn_listing *l, int *kind, char found[PN_FOUND_BYTES]);

/* listing.c: rank 0.  Errors: ARG, IO. */
pn_status pn_listing_make(const pn_ingest_config *cfg, pn_listing *out);
void pn_listing_free(pn_listing *l);
bool pn_listing_has(const pn_listing *l, const char *path);
/* Drop what lies outside `folder`; NULL or a folder that is not there: nothing. */
void pn_listing_keep(pn_listing *l, const char *folder);
/* First bytes of a candidate: pn_file_kind's name, NULL: unknown. */
const char *pn_listing_sniff(const pn_listing *l, const pn_list_entry *e);

/* ingest_text.c: a file beside the images into s->text[which]; path relative to the work folder. */
pn_status pn_ingest_read_text(pn_ingest_source *s, pn_text_role which, const char *path);

/* kind_folders.c: images below folders named mask or masks are no input. */
void pn_mark_masks(pn_listing *l);

/* ingest_frames.c, all ranks, ingest.frames=all: count the frames of the DICOM files into the
 * list. */
pn_status pn_ingest_count_frames(pn_ingest *x);
/* An image of the list as the frame of a DICOM file; the file stays open for its next frame. */
pn_status pn_ingest_read_dicom(pn_ingest_worker *w, int64_t file, pn_dicom_info *info,
                               pn_reject *why);

/* ingest_image.c: the file as PNG, JPEG or DICOM, by its content, into worker.image. */
pn_status pn_ingest_read_picture(pn_ingest_worker *w, int64_t file, pn_dicom_info *info,
                                 pn_reject *why);
/* Mark that label as carried by a file; l NULL: nothing. */
pn_status pn_ingest_hit(pn_ingest *x, const pn_label *l);

/* label_match.c: s->file[].label by path, else by file name, else by name without extension.
 * -1: no row; PN_LABEL_AMBIGUOUS: several rows or several files claim each other. */
enum { PN_LABEL_NONE = -1, PN_LABEL_AMBIGUOUS = -2 };
pn_status pn_labels_match(pn_ingest_source *s);

/* patient_name.c: the part of a file name that names the patient in the sets of NIH ChestX-ray14
 * (00012345_003.png) and Kermany (person12_bacteria_3.jpeg, IM-0115-0001.jpeg,
 * NORMAL-123456-0001.jpeg).  false: another kind of name. */
bool pn_patient_of_name(const char *path, char *out, size_t bytes);

#endif
