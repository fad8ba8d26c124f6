/* ingest_text.c -- label files into memory. */
#include "base/file.h"
#include "data/kind.h"
#include "data/picture.h"

#include <stdlib.h>
#include <string.h>

pn_status pn_ingest_read_text(pn_ingest_source *s, pn_text_role which, const char *path) {
  const char *unpack = NULL, *slash = strrchr(path, '/');
  pn_ingest_text *t = &s->text[which];
  pn_status st = pn_file_read(path, &t->data, &t->bytes);

  if (st != PN_OK) return st;
  pn_file_kind((const uint8_t *)t->data, t->bytes, &unpack);
  if (unpack)
    return PN_FAIL(PN_ERR_ARG, "%s is packed: unpack it with `%s %s`", path, unpack, path);
  if (!(t->name = strdup(slash ? slash + 1 : path)))
    return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  return PN_OK;
}
