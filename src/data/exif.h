/* exif.h -- how a camera was held: the orientation tag of a JPEG file. */
#ifndef PN_DATA_EXIF_H
#define PN_DATA_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* 1..8 as EXIF numbers them: 1 = as stored, 3 = upside down, 6 = turn right, 8 = turn left, 2, 4,
 * 5, 7 = mirrored too.  1 where there is no tag or it cannot be read. */
int pn_exif_orientation(const uint8_t *jpeg, size_t bytes);

#endif
