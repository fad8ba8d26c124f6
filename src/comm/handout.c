/* handout.c -- a counter on rank 0 behind three kinds of short messages.  Rank r asks (ASK) and is
 * answered (ANSWER); it says once that it leaves (LEAVE); rank 0 says once to each that all is over
 * (OVER), as soon as one rank has failed, else when all have left. */
#include "comm/handout.h"

#include "base/clock.h"

#include <stdlib.h>

enum { TAG_TO_ROOT = 32001, TAG_ANSWER, TAG_OVER };
enum { ASK, LEAVE, LEAVE_FAILED };
static const double nap_s = 1e-3;

struct pn_handout {
  pn_comm *comm; /* borrowed */
  int64_t n, next;
  int n_left;   /* rank 0: ranks that said LEAVE */
  bool over;    /* rank 0: said to all; others: heard */
  bool stopped; /* some rank failed */
};

pn_status pn_handout_create(pn_comm *c, int64_t n, pn_handout **out) {
  *out = calloc(1, sizeof **out);
  if (!*out) return PN_FAIL(PN_ERR_NOMEM, "hand-out of work: out of memory");
  (*out)->comm = c;
  (*out)->n = n;
  return PN_OK;
}

void pn_handout_destroy(pn_handout *h) {
  free(h);
}

int64_t pn_handout_given(const pn_handout *h) {
  return h->next;
}

static int64_t take(pn_handout *h) {
  return h->stopped || h->next == h->n ? -1 : h->next++;
}

static pn_status say_over(pn_handout *h, bool failed) {
  int64_t text = failed;

  if (failed) h->stopped = true;
  if (h->over) return PN_OK;
  h->over = true;
  for (int r = 1; r < pn_comm_size(h->comm); r++) {
    pn_status st = pn_send(h->comm, "end of work", &text, 1, PN_I64, r, TAG_OVER);
    if (st != PN_OK) return st;
  }
  return PN_OK;
}

static pn_status serve_one(pn_handout *h) {
  int64_t text = 0, item;
  int from = -1;
  pn_status st = pn_recv(h->comm, "request for work", &text, 1, PN_I64, -1, TAG_TO_ROOT, &from);

  if (st != PN_OK) return st;
  if (text == ASK) {
    item = take(h);
    return pn_send(h->comm, "work", &item, 1, PN_I64, from, TAG_ANSWER);
  }
  h->n_left++;
  return text == LEAVE_FAILED ? say_over(h, true) : PN_OK;
}

static pn_status serve(pn_handout *h) {
  bool there = true;
  pn_status st = PN_OK;

  while (st == PN_OK && there) {
    st = pn_probe(h->comm, -1, TAG_TO_ROOT, &there);
    if (st == PN_OK && there) st = serve_one(h);
  }
  return st;
}

/* Not rank 0: has it said that all is over? */
static pn_status listen(pn_handout *h) {
  int64_t failed = 0;
  bool there = false;
  pn_status st = h->over ? PN_OK : pn_probe(h->comm, 0, TAG_OVER, &there);

  if (st != PN_OK || !there) return st;
  st = pn_recv(h->comm, "end of work", &failed, 1, PN_I64, 0, TAG_OVER, NULL);
  h->over = true;
  h->stopped = failed != 0;
  return st;
}

pn_status pn_handout_poll(pn_handout *h, bool *stop) {
  pn_status st = pn_comm_rank(h->comm) == 0 ? serve(h) : listen(h);

  *stop = h->stopped;
  return st;
}

pn_status pn_handout_next(pn_handout *h, int64_t *item) {
  int64_t text = ASK;
  bool stop;
  pn_status st = pn_handout_poll(h, &stop);

  *item = -1;
  if (st != PN_OK || stop) return st;
  if (pn_comm_rank(h->comm) == 0) {
    *item = take(h);
    return PN_OK;
  }
  st = pn_send(h->comm, "request for work", &text, 1, PN_I64, 0, TAG_TO_ROOT);
  if (st != PN_OK) return st;
  return pn_recv(h->comm, "work", item, 1, PN_I64, 0, TAG_ANSWER, NULL);
}

static pn_status end_root(pn_handout *h, bool failed) {
  pn_status st = failed ? say_over(h, true) : PN_OK;

  while (st == PN_OK && h->n_left < pn_comm_size(h->comm) - 1) {
    st = serve(h);
    if (st == PN_OK && h->n_left < pn_comm_size(h->comm) - 1) pn_sleep(nap_s);
  }
  return st == PN_OK ? say_over(h, false) : st;
}

pn_status pn_handout_end(pn_handout *h, bool failed) {
  int64_t text = failed ? LEAVE_FAILED : LEAVE;
  pn_status st;

  if (pn_comm_rank(h->comm) == 0) return end_root(h, failed);
  st = pn_send(h->comm, "end of work", &text, 1, PN_I64, 0, TAG_TO_ROOT);
  while (st == PN_OK && !h->over) {
    st = listen(h);
    if (st == PN_OK && !h->over) pn_sleep(nap_s);
  }
  return st;
}
