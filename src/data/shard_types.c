/* shard_types.c -- HDF5 types that writer and reader share. */
#include "data/shard.h"
#include "data/shard_hdf5.h"

#include <stddef.h>

hid_t pn_shard_text_type(size_t bytes, H5T_str_t pad) {
  hid_t t = H5Tcopy(H5T_C_S1);

  if (t >= 0 && (H5Tset_size(t, bytes) < 0 || H5Tset_strpad(t, pad) < 0)) {
    H5Tclose(t);
    return -1;
  }
  return t;
}

hid_t pn_shard_meta_type(void) {
  hsize_t two = 2;
  hid_t t = H5Tcreate(H5T_COMPOUND, sizeof(pn_shard_meta));
  hid_t pair = H5Tarray_create2(H5T_NATIVE_FLOAT, 1, &two);
  hid_t view = pn_shard_text_type(PN_SHARD_VIEW_BYTES, H5T_STR_NULLTERM);
  bool ok = t >= 0 && pair >= 0 && view >= 0 &&
            H5Tinsert(t, "height", offsetof(pn_shard_meta, height), H5T_NATIVE_INT32) >= 0 &&
            H5Tinsert(t, "width", offsetof(pn_shard_meta, width), H5T_NATIVE_INT32) >= 0 &&
            H5Tinsert(t, "spacing_mm", offsetof(pn_shard_meta, spacing_mm), pair) >= 0 &&
            H5Tinsert(t, "age", offsetof(pn_shard_meta, age), H5T_NATIVE_INT16) >= 0 &&
            H5Tinsert(t, "warnings", offsetof(pn_shard_meta, warnings), H5T_NATIVE_UINT16) >= 0 &&
            H5Tinsert(t, "sex", offsetof(pn_shard_meta, sex), H5T_NATIVE_UINT8) >= 0 &&
            H5Tinsert(t, "inverted", offsetof(pn_shard_meta, inverted), H5T_NATIVE_UINT8) >= 0 &&
            H5Tinsert(t, "view", offsetof(pn_shard_meta, view), view) >= 0;

  if (pair >= 0) H5Tclose(pair);
  if (view >= 0) H5Tclose(view);
  if (!ok && t >= 0) H5Tclose(t);
  return ok ? t : -1;
}

const char *pn_shard_library(void) {
  static char text[32]; /* constant once written */
  unsigned major = 0, minor = 0, release = 0;

  H5get_libversion(&major, &minor, &release);
  snprintf(text, sizeof text, "HDF5 %u.%u.%u", major, minor, release);
  return text;
}
