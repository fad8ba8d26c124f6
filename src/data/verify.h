/* verify.h -- re-read published shards and compare them with index.json and their own checksums. */
#ifndef PN_DATA_VERIFY_H
#define PN_DATA_VERIFY_H

#include "base/status.h"
#include "comm/comm.h"

#include <jansson.h>
#include <stdint.h>

enum { PN_VERIFY_FILE_BYTES = 32, PN_VERIFY_WHAT_BYTES = 200, PN_VERIFY_MOST = 1000 };

typedef struct {
  int64_t shard, image;            /* image: row in the shard; -1: not one image */
  char file[PN_VERIFY_FILE_BYTES]; /* "shard-00003.h5", "index.json" */
  char what[PN_VERIFY_WHAT_BYTES]; /* what differs */
} pn_verify_problem;

typedef struct {
  int64_t shards, images, bytes; /* read; bytes of the files */
  double seconds;
  char digest[65]; /* of the index */
  int64_t n_problems;
  pn_verify_problem
      *problem; /* [the first PN_VERIFY_MOST of each rank], by shard and image; owned */
  int64_t n_listed;
} pn_verify_result;

/* Collective: shards are shared out over the ranks; the result is the same on all of them.  PN_OK
 * when everything could be looked at, problems or not.  Errors: IO (no index), FORMAT (the index
 * cannot be read at all), NOMEM. */
pn_status pn_verify_run(const char *path, pn_comm *c, pn_verify_result *out);
void pn_verify_free(pn_verify_result *r);
json_t *pn_verify_json(const pn_verify_result *r); /* new reference */

#endif
