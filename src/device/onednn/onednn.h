/* onednn.h -- the oneDNN device: blocked private layouts, f32; for the registry and pneuma info. */
#ifndef PN_DEVICE_ONEDNN_ONEDNN_H
#define PN_DEVICE_ONEDNN_ONEDNN_H

#include "device/device.h"

extern const pn_device_ops pn_device_onednn_ops;

const char *pn_onednn_version(void); /* of the library that is loaded: "2.6.3" */
const char *pn_onednn_isa(void);     /* widest instruction set it will use: "avx2" */
int pn_onednn_lanes(void);           /* floats in its widest vector */

#endif
