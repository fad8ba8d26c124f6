/* png_write.c -- 8-bit pixels to a PNG file, by libpng's simplified interface. */
#include "data/png_write.h"

#include "base/file.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 65535 };

pn_status pn_png_write(const char *path, int64_t height, int64_t width, int channels,
                       const uint8_t *pixels) {
  png_image image = {.version = PNG_IMAGE_VERSION};
  png_alloc_size_t bytes = 0;
  void *data = NULL;
  pn_status st = PN_OK;

  if (height < 1 || width < 1 || height > MAX_SIDE || width > MAX_SIDE ||
      (channels != 1 && channels != 3))
    return PN_FAIL(PN_ERR_ARG, "%s: a PNG of %lld x %lld pixels with %d channels", path,
                   (long long)height, (long long)width, channels);
  image.width = (png_uint_32)width;
  image.height = (png_uint_32)height;
  image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  image.flags = PNG_IMAGE_FLAG_FAST;
  bytes = PNG_IMAGE_PNG_SIZE_MAX(image); /* asking libpng for the size costs a whole compression */
  if (!(data = malloc(bytes))) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path));
  if (!png_image_write_to_memory(&image, data, &bytes, 0, pixels, 0, NULL))
    PN_TRY(PN_FAIL(PN_ERR_NOMEM, "%s: libpng: %s", path, image.message));
  st = pn_file_write(path, data, bytes);
done:
  png_image_free(&image);
  free(data);
  return st;
}
