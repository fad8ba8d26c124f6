/* gray.h -- an image in memory, grey or RGB, 8 or 16 bits; buffer reused from file to file. */
#ifndef PN_DATA_GRAY_H
#define PN_DATA_GRAY_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Start as {0}.  Row-major, no padding; 0 = black; the three values of an RGB pixel lie together.
 */
typedef struct {
  int64_t height, width;
  int channels;        /* 1: grey, 3: RGB */
  int bytes_per_pixel; /* of one channel.  1: 0..255, 2: 0..65535 */
  void *data;          /* owned: pn_gray_free */
  size_t capacity;     /* bytes allocated */
} pn_gray;

/* Make room for height x width grey pixels; contents are undefined.  Errors: ARG (not positive),
 * NOMEM. */
pn_status pn_gray_reserve(pn_gray *g, int64_t height, int64_t width, int bytes_per_pixel);
/* The same for an RGB image. */
pn_status pn_gray_reserve_rgb(pn_gray *g, int64_t height, int64_t width, int bytes_per_pixel);
void pn_gray_free(pn_gray *g); /* leaves {0}; NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
