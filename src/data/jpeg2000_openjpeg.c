/* jpeg2000_openjpeg.c -- OpenJPEG behind status codes; the only file that sees it. */
#include "data/jpeg2000.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <openjpeg.h>

static const char *const kTag = "(7fe0,0010)";
enum { MAX_BITS = 16, MAX_COMPONENTS = 3, MAX_PIXELS_PER_BYTE = 8192, ERROR_BYTES = 80 };

/* A memory stream as OpenJPEG wants it. */
struct source {
  const uint8_t *data;
  size_t bytes, at;
};

struct codec {
  opj_codec_t *codec;
  opj_stream_t *stream;
  opj_image_t *image;
  struct source source;
  char error[ERROR_BYTES];
};

static OPJ_SIZE_T source_read(void *to, OPJ_SIZE_T n, void *user) {
  struct source *s = user;
  size_t left = s->bytes - s->at;
  if (left == 0) return (OPJ_SIZE_T)-1;
  if (n > left) n = left;
  memcpy(to, s->data + s->at, n);
  s->at += n;
  return n;
}

static OPJ_OFF_T source_skip(OPJ_OFF_T n, void *user) {
  struct source *s = user;
  int64_t left = (int64_t)(s->bytes - s->at);
  if (n < 0) return -1;
  if (n > left) n = left;
  s->at += (size_t)n;
  return n;
}

static OPJ_BOOL source_seek(OPJ_OFF_T to, void *user) {
  struct source *s = user;
  if (to < 0 || (uint64_t)to > s->bytes) return OPJ_FALSE;
  s->at = (size_t)to;
  return OPJ_TRUE;
}

static void keep_message(const char *message, void *user) {
  struct codec *c = user;
  if (!c->error[0])
    snprintf(c->error, sizeof c->error, "%.*s", (int)strcspn(message, "\n"), message);
}

static void drop_message(const char *message, void *user) {
  (void)message, (void)user;
}

static void codec_close(struct codec *c) {
  opj_image_destroy(c->image);
  opj_destroy_codec(c->codec);
  opj_stream_destroy(c->stream);
}

static pn_status codec_start(struct codec *c, const pn_jpeg_stream *in) {
  static const uint8_t jp2_mark[] = {0, 0, 0, 12, 'j', 'P', ' ', ' '};
  bool jp2 = in->bytes > sizeof jp2_mark && memcmp(in->data, jp2_mark, sizeof jp2_mark) == 0;
  opj_dparameters_t parameters;

  c->source = (struct source){in->data, in->bytes, 0};
  c->codec = opj_create_decompress(jp2 ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K);
  c->stream = opj_stream_create(1 << 16, OPJ_TRUE);
  if (!c->codec || !c->stream) return PN_FAIL(PN_ERR_NOMEM, "JPEG 2000 decoder: out of memory");
  opj_set_error_handler(c->codec, keep_message, c);
  opj_set_warning_handler(c->codec, drop_message, NULL);
  opj_set_info_handler(c->codec, drop_message, NULL);
  opj_stream_set_user_data(c->stream, &c->source, NULL);
  opj_stream_set_user_data_length(c->stream, in->bytes);
  opj_stream_set_read_function(c->stream, source_read);
  opj_stream_set_skip_function(c->stream, source_skip);
  opj_stream_set_seek_function(c->stream, source_seek);
  opj_set_default_decoder_parameters(&parameters);
  if (!opj_setup_decoder(c->codec, &parameters))
    return PN_FAIL(PN_ERR_NOMEM, "JPEG 2000 decoder: cannot be set up");
  return PN_OK;
}

/* Components of one size, precision and sign, none subsampled. */
static bool check_components(const opj_image_t *image, pn_reject *why) {
  const opj_image_comp_t *a = image->comps;

  if (image->numcomps < 1 || image->numcomps > MAX_COMPONENTS)
    return pn_reject_set(why, "jpeg_components", kTag, "%u components in the JPEG 2000 stream",
                         image->numcomps);
  for (OPJ_UINT32 i = 0; i < image->numcomps; i++) {
    const opj_image_comp_t *c = &image->comps[i];
    if (c->dx != 1 || c->dy != 1 || c->prec != a->prec || c->sgnd != a->sgnd || c->w != a->w ||
        c->h != a->h || c->prec < 1 || c->prec > MAX_BITS)
      return pn_reject_set(why, "jpeg_process", kTag,
                           "JPEG 2000 component %u: %u bits, subsampling %ux%u", i, c->prec, c->dx,
                           c->dy);
  }
  return false;
}

static bool read_header(struct codec *c, const pn_jpeg_stream *in, pn_jpeg_info *info,
                        pn_reject *why) {
  if (!opj_read_header(c->stream, c->codec, &c->image))
    return pn_reject_set(why, "jpeg_corrupt", kTag, "OpenJPEG: %s", c->error);
  if (check_components(c->image, why)) return true;
  *info = (pn_jpeg_info){.height = (int64_t)c->image->y1 - c->image->y0,
                         .width = (int64_t)c->image->x1 - c->image->x0,
                         .components = (int)c->image->numcomps,
                         .bits = (int)c->image->comps[0].prec};
  if (info->height * info->width / MAX_PIXELS_PER_BYTE > (int64_t)in->bytes)
    return pn_reject_set(why, "jpeg_truncated", kTag, "%zu bytes for %lldx%lld pixels", in->bytes,
                         (long long)info->height, (long long)info->width);
  return false;
}

bool pn_jpeg2000_probe(const pn_jpeg_stream *in, pn_jpeg_info *info, pn_reject *why) {
  struct codec c = {0};

  *info = (pn_jpeg_info){0};
  if (codec_start(&c, in) != PN_OK)
    pn_reject_set(why, "decode_error", kTag, "%.80s", pn_last_error());
  else
    read_header(&c, in, info, why);
  codec_close(&c);
  return why->reason[0] != 0;
}

static void store(const opj_image_t *image, pn_gray *out) {
  size_t n = (size_t)image->comps[0].w * image->comps[0].h, step = image->numcomps;

  for (size_t k = 0; k < step; k++)
    for (size_t i = 0; i < n; i++) {
      uint32_t v = (uint32_t)image->comps[k].data[i];
      if (out->bytes_per_pixel == 1)
        ((uint8_t *)out->data)[i * step + k] = (uint8_t)v;
      else
        ((uint16_t *)out->data)[i * step + k] = (uint16_t)v;
    }
}

static bool has_data(const opj_image_t *image) {
  for (OPJ_UINT32 i = 0; i < image->numcomps; i++)
    if (!image->comps[i].data) return false;
  return true;
}

pn_status pn_jpeg2000_decode(const pn_jpeg_stream *in, pn_gray *out, pn_reject *why) {
  struct codec c = {0};
  pn_jpeg_info info;
  pn_status st = PN_OK;

  PN_TRY(codec_start(&c, in));
  if (read_header(&c, in, &info, why)) goto done;
  if (!opj_decode(c.codec, c.stream, c.image) || !opj_end_decompress(c.codec, c.stream) ||
      !has_data(c.image) || check_components(c.image, why)) {
    if (!why->reason[0]) pn_reject_set(why, "jpeg_corrupt", kTag, "OpenJPEG: %s", c.error);
    goto done;
  }
  if ((int64_t)c.image->comps[0].w != info.width || (int64_t)c.image->comps[0].h != info.height) {
    pn_reject_set(why, "size_conflict", kTag, "JPEG 2000 tiles do not fill the image");
    goto done;
  }
  PN_TRY(pn_gray_reserve(out, info.height, info.width * info.components, info.bits <= 8 ? 1 : 2));
  store(c.image, out);
done:
  codec_close(&c);
  return st;
}

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *pn_jpeg2000_library(void) {
  return "OpenJPEG " TEXT(OPJ_VERSION_MAJOR) "." TEXT(OPJ_VERSION_MINOR) "." TEXT(
      OPJ_VERSION_BUILD);
}
