/* fuzz_picture.c -- PNG and JPEG files: any bytes; what is read is upright and of the size it says.
 */
#include "data/exif.h"
#include "data/picture.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  pn_gray image = {0}, scratch = {0};
  pn_picture_info info;
  pn_reject why = {0};
  int orientation = pn_exif_orientation(data, bytes);

  if (orientation < 1 || orientation > 8) abort();
  if (pn_picture_decode((pn_bytes){data, bytes}, &image, &scratch, &info, &why) == PN_OK &&
      !why.reason[0]) {
    if (image.height < 1 || image.width < 1) abort();
    pn_picture_to_grey(&image);
  }
  pn_gray_free(&image);
  pn_gray_free(&scratch);
  return 0;
}
