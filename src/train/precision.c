/* precision.c -- see precision.h. */
#include "train/precision.h"

#include "base/log.h"

#include <string.h>

pn_status pn_precision_parse(const char *name, pn_dtype *out) {
  static const pn_dtype types[] = {PN_F32, PN_BF16, PN_FP16};

  *out = PN_F32;
  if (!*name) return PN_OK;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(name, pn_dtype_name(types[i])) == 0) {
      *out = types[i];
      return PN_OK;
    }
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "train.precision=%s: this version computes in f32, bf16 and fp16", name);
}

pn_status pn_precision_of(const pn_device *d, const char *name, pn_dtype *out) {
  pn_status st = pn_precision_parse(name, out);
  const char *why = st == PN_OK ? pn_device_lacks(d, *out) : NULL;

  if (!why) return st;
  return PN_FAIL(PN_ERR_UNSUPPORTED,
                 "train.precision=%s: device %s has no fast %s here: %s; take train.precision=f32, "
                 "or in training train.precision_fallback=true to go on in f32 where it is missing",
                 name, d->ops->name, name, why);
}

pn_status pn_precision_agree(pn_comm *c, const pn_device *d, const char *name, bool fallback,
                             pn_dtype *out) {
  int32_t have;
  pn_status st = pn_precision_of(d, name, out);

  if (!fallback || *out == PN_F32) return pn_agree(c, st);
  have = st == PN_OK;
  if ((st = pn_allreduce(c, "check of the precision", &have, 1, PN_I32, PN_MIN)) != PN_OK)
    return st;
  if (have) return PN_OK;
  pn_warn("train.precision=%s is missing on this machine, or on another rank's: f32 instead, as "
          "train.precision_fallback allows",
          name);
  *out = PN_F32;
  return PN_OK;
}
