/* cmd_verify.c -- `pneuma verify SHARDS`: does every byte fit its checksums and the index? */
#include "cli/cli.h"
#include "cli/units.h"
#include "data/verify.h"

enum { SHOWN = 20 };

static void print(const char *path, const pn_verify_result *r) {
  printf("%s: %lld shards, %s images, %s, read in %s\n", path, (long long)r->shards,
         pn_text_count(r->images).s, pn_text_bytes((double)r->bytes).s,
         pn_text_seconds(r->seconds).s);
  for (int64_t i = 0; i < r->n_listed && i < SHOWN; i++) {
    const pn_verify_problem *p = &r->problem[i];
    if (p->image < 0)
      printf("  %s: %s\n", p->file, p->what);
    else
      printf("  %s: image %lld: %s\n", p->file, (long long)p->image, p->what);
  }
  if (r->n_problems > SHOWN)
    printf("  ... %lld problems in all (--json lists them)\n", (long long)r->n_problems);
  if (r->n_problems == 0) printf("All fits. Digest %s\n", r->digest);
}

static pn_status failed(const char *path, const pn_verify_result *r) {
  const pn_verify_problem *p = &r->problem[0];

  return PN_FAIL(PN_ERR_FORMAT,
                 "%s: %lld problem%s; first: %s: %s; restore the files or ingest again", path,
                 (long long)r->n_problems, r->n_problems == 1 ? "" : "s", p->file, p->what);
}

pn_status pn_cmd_verify(pn_cli *x) {
  pn_verify_result r;
  pn_status st = pn_verify_run(x->args[0], x->comm, &r);

  if (st != PN_OK) return st;
  if (pn_cli_speaks(x)) print(x->args[0], &r);
  x->result = pn_verify_json(&r);
  if (r.n_problems > 0) st = failed(x->args[0], &r); /* on all ranks */
  pn_verify_free(&r);
  return pn_agree(x->comm, st);
}
