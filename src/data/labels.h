/* labels.h -- what is known of each image before it is opened: class, patient, split, boxes.  From
 * the two CSV files of the RSNA challenge, from any CSV with a class column, or from folder names.
 */
#ifndef PN_DATA_LABELS_H
#define PN_DATA_LABELS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_LABEL_ID_BYTES = 72, PN_MAX_CLASSES = 128, PN_CLASS_BYTES = 48, PN_LABEL_VIEW_BYTES = 4 };
enum { PN_RSNA_NORMAL, PN_RSNA_OPACITY, PN_RSNA_CLASSES };

/* As in the file, unchecked: NaN, negative or outside the image are possible. */
typedef struct {
  double x, y, width, height;
  int64_t line; /* of the labels file */
} pn_label_box;

typedef struct {
  const char *id;                 /* borrowed from the text it was read from */
  const char *group;              /* patient; NULL: not known, the id stands for one */
  int target;                     /* class index; -1: of a class that is not wanted */
  int split;                      /* given: a pn_split; -1: none given */
  int64_t line;                   /* first line of this id in the labels file; 0: from a folder */
  int64_t first_box, n_boxes;     /* rows with Target 1, in file order */
  const char *conflict;           /* reason code when the rows contradict each other, else NULL */
  int64_t conflict_line;          /* of the file named by conflict_in_classes */
  bool conflict_in_classes;       /* in the class file, else in the labels file */
  char sex;                       /* 'M', 'F', 'O', 0 = not known */
  char view[PN_LABEL_VIEW_BYTES]; /* "PA", "AP", "LL", "" */
  int age;                        /* years, 90 = 90 or more, -1 = not known */
} pn_label;

typedef struct {
  pn_label *label; /* [n], sorted by id; owned */
  int64_t n;
  pn_label_box *box; /* [n_boxes]; owned */
  int64_t n_boxes;
  char class_name[PN_MAX_CLASSES][PN_CLASS_BYTES];
  int n_classes;
  char *groups; /* texts that label[].group borrows; owned; may be NULL */
} pn_labels;

/* One CSV text; bytes[text] is 0; the text is modified and borrowed by the labels.  text NULL:
 * there is no such file. */
typedef struct {
  const char *name;
  char *text;
  size_t bytes;
} pn_csv_text;

/* labels: patientId,x,y,width,height,Target; classes: patientId,class.  Errors: FORMAT with file,
 * line and column; NOMEM.  Contradictions within one id are not errors: see pn_label.conflict. */
pn_status pn_labels_parse(pn_csv_text labels, pn_csv_text classes, pn_labels *out);
/* The mapping of the RSNA challenge to NIH, JSON: [{"subset_img_id": RSNA id, "img_id":
 * "00012345_003.png"}, ...]: labels of one NIH patient get one group.  *mapped: labels with one. */
pn_status pn_labels_map_groups(pn_csv_text json, pn_labels *l, int64_t *mapped);
void pn_labels_free(pn_labels *l);
const pn_label *pn_labels_find(const pn_labels *l, const char *id); /* NULL: no label */

/* labels_class.c.  Class of that name (any letter case), added where it is new.  Errors: FORMAT
 * (too many, too long, empty): `where` begins the message. */
pn_status pn_labels_class(pn_labels *l, const char *name, const char *where, int *target);
/* Sort the classes by name; of two the one called normal, negative, healthy, none, no ... is
 * class 0.  only: "a,b": these, in this order; the labels of others get target -1.  Errors: ARG. */
pn_status pn_labels_order(pn_labels *l, const char *only);

/* labels_table.c: a CSV with one row per image. */
typedef struct {
  const char *columns; /* "path=file,label=diagnosis": names of columns that are not recognised */
  const char *test_fold, *val_fold; /* values of the fold column; "" = none */
} pn_table_rules;
/* Errors: FORMAT with file, line and column, ARG (columns). */
pn_status pn_labels_table(pn_csv_text csv, const pn_table_rules *rules, pn_labels *out);
/* Has its header a class column and one that names the image or the patient?  The text is not
 * changed; `bytes` may be a part that holds the first line. */
bool pn_labels_is_table(const char *text, size_t bytes, const char *columns);
/* "train", "val", "testing", ... in any letter case: a pn_split, else -1. */
int pn_split_of_name(const char *name);

#endif
