/* labels.h -- the two CSV files of the RSNA challenge: one label and its boxes per image id. */
#ifndef PN_DATA_LABELS_H
#define PN_DATA_LABELS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { PN_LABEL_ID_BYTES = 72 };
enum { PN_RSNA_NORMAL, PN_RSNA_OPACITY, PN_RSNA_CLASSES };
const char *pn_rsna_class_name(int i); /* "normal", "opacity" */

/* As in the file, unchecked: NaN, negative or outside the image are possible. */
typedef struct {
  double x, y, width, height;
  int64_t line; /* of the labels file */
} pn_label_box;

typedef struct {
  char id[PN_LABEL_ID_BYTES];
  int target;                 /* class index */
  int64_t line;               /* first line of this id in the labels file */
  int64_t first_box, n_boxes; /* rows with Target 1, in file order */
  const char *conflict;       /* reason code when the rows contradict each other, else NULL */
  int64_t conflict_line;      /* of the file named by conflict_in_classes */
  bool conflict_in_classes;   /* in the class file, else in the labels file */
} pn_label;

typedef struct {
  pn_label *label; /* [n], sorted by id; owned */
  int64_t n;
  pn_label_box *box; /* [n_boxes]; owned */
  int64_t n_boxes;
} pn_labels;

/* One CSV text; bytes[text] is 0; the text is modified.  text NULL: there is no such file. */
typedef struct {
  const char *name;
  char *text;
  size_t bytes;
} pn_csv_text;

/* labels: patientId,x,y,width,height,Target; classes: patientId,class.  Errors: FORMAT with file,
 * line and column; NOMEM.  Contradictions within one id are not errors: see pn_label.conflict. */
pn_status pn_labels_parse(pn_csv_text labels, pn_csv_text classes, pn_labels *out);
void pn_labels_free(pn_labels *l);
const pn_label *pn_labels_find(const pn_labels *l, const char *id); /* NULL: no label */

#endif
