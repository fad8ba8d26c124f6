/* class_names.h -- are the classes of a trained network those of a data set? */
#ifndef PN_TRAIN_CLASS_NAMES_H
#define PN_TRAIN_CLASS_NAMES_H

#include "data/dataset.h"

#include <jansson.h>

enum { PN_CLASS_LIST_BYTES = 400 };
typedef struct {
  char trained[PN_CLASS_LIST_BYTES], data[PN_CLASS_LIST_BYTES]; /* "normal,opacity", maybe cut */
} pn_class_lists;

/* Same names in the same order?  names: array of the classes in the order of the network's outputs;
 * *lists: both, for a message. */
bool pn_class_names_agree(const json_t *names, const pn_dataset *d, pn_class_lists *lists);

#endif
