/* agree.c -- one answer on all ranks to "did any rank fail?". */
#include "comm/comm.h"

#include "comm/comm_backend.h"
#include "comm/watchdog.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What the failing rank tells the others; sent as bytes. */
struct news {
  int32_t status, rank;
  int32_t hearsay; /* the text already names the rank that failed */
  char host[64], text[1024];
};

/* Is the last error one that answer() below wrote, about another rank? */
static bool is_hearsay(void) {
  return strncmp(pn_last_error(), "agree.c:", strlen("agree.c:")) == 0;
}

/* Lower is worse: own failures by rank, then failures heard of from another communicator. */
static int32_t key_of(const pn_comm *c, pn_status mine) {
  if (mine == PN_OK) return 2 * c->size;
  return is_hearsay() ? c->size + c->rank : c->rank;
}

static struct news own_news(const pn_comm *c, pn_status mine) {
  struct news n = {.status = (int32_t)mine, .rank = c->world_rank, .hearsay = is_hearsay()};
  const char *text = pn_last_error();

  gethostname(n.host, sizeof n.host - 1);
  snprintf(n.text, sizeof n.text, "%s", text[0] ? text : pn_status_name(mine));
  return n;
}

/* The same exit code on all ranks: usage errors and timeouts keep their name, others are PEER. */
static pn_status as_peer(pn_status theirs) {
  return theirs == PN_ERR_ARG || theirs == PN_ERR_TIMEOUT ? theirs : PN_ERR_PEER;
}

static pn_status answer(pn_status mine, const struct news *n) {
  pn_status theirs = (pn_status)n->status;

  if (mine != PN_OK)
    return pn_status_exit_code(mine) == pn_status_exit_code(theirs) ? mine : as_peer(theirs);
  if (n->hearsay) return PN_FAIL(as_peer(theirs), "%s", strchr(n->text, ' ') + 1);
  return PN_FAIL(as_peer(theirs), "rank %d (%s): %s", (int)n->rank, n->host, n->text);
}

static pn_status exchange(pn_comm *ctl, pn_status *mine) { /* on the control channel */
  int32_t first = key_of(ctl, *mine);
  struct news n = {0};
  pn_status st = ctl->ops->allreduce(ctl, &first, 1, PN_I32, PN_MIN);

  if (st != PN_OK || first == 2 * ctl->size) return st;
  if (first % ctl->size == ctl->rank) n = own_news(ctl, *mine);
  st = ctl->ops->bcast(ctl, &n, (int64_t)sizeof n, PN_U8, first % ctl->size);
  if (st != PN_OK) return st;
  *mine = answer(*mine, &n);
  return PN_OK;
}

pn_status pn_agree(pn_comm *c, pn_status mine) {
  pn_status st = PN_OK;

  if (pn_comm_broken()) return mine != PN_OK ? mine : PN_ERR_COMM;
  c->number++;
  if (c->size > 1) {
    pn_watchdog_push(&(pn_watch_op){
        .kind = "agree", .what = "error state", .number = c->number, .size = c->size});
    st = exchange(c->ctl, &mine);
    pn_watchdog_pop();
    if (st != PN_OK) return st;
  }
  if (mine != PN_OK && c->whole) pn_error_set_agreed(); /* every rank is on the same way out */
  return mine;
}
