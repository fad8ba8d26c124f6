/* yaml.h -- a whole YAML file as one jansson value (libyaml). */
#ifndef PN_CLI_YAML_H
#define PN_CLI_YAML_H

#include "base/status.h"

#include <jansson.h>

/* Read `path`: one document, scalars typed as in YAML 1.2 (true/false, null, decimal integers and
 * reals; all else and everything quoted is text).  An empty file is an empty object.
 *   *out  new reference, owned by the caller; NULL on error.
 * Errors: ARG with "FILE:LINE: what is wrong" (also: no such file), NOMEM. */
pn_status pn_yaml_load(const char *path, json_t **out);

/* The same, and the line (from 1) of every value below a mapping: an object from dotted path
 * ("train.batch", "study.rows") to integer.  Both are new references. */
pn_status pn_yaml_load_lines(const char *path, json_t **out, json_t **lines);

const char *pn_yaml_library(void); /* "0.2.5" */

#endif
