/* jpeg2000_registry.c -- answers for jpeg2000.h when the build has no OpenJPEG. */
#include "data/jpeg2000.h"

#ifndef PN_WITH_OPENJPEG
bool pn_jpeg2000_probe(const pn_jpeg_stream *in, pn_jpeg_info *info, pn_reject *why) {
  (void)in;
  *info = (pn_jpeg_info){0};
  return pn_reject_set(why, "unsupported_syntax", "(0002,0010)",
                       "JPEG 2000 not built in: apt install libopenjp2-7-dev and rebuild");
}

pn_status pn_jpeg2000_decode(const pn_jpeg_stream *in, pn_gray *out, pn_reject *why) {
  pn_jpeg_info info;
  (void)out;
  pn_jpeg2000_probe(in, &info, why);
  return PN_OK;
}

const char *pn_jpeg2000_library(void) {
  return "none";
}
#endif
