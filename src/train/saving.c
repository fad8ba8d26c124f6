/* saving.c -- when a run is saved. */
#include "train/run.h"

static const double SAVE_EVERY_S = 60; /* at the end of the first epoch after that long */

pn_status pn_run_save(pn_run *r) {
  pn_checkpoint k = {.cfg = r->cfg,
                     .precision = r->precision,
                     .model = &r->model,
                     .data = r->data,
                     .graph = r->graph,
                     .strategy = r->strategy,
                     .comm = r->comm,
                     .step = r->done,
                     .epoch = r->epoch,
                     .best = r->cfg->keep_best ? r->best.step : -1};
  pn_status st;

  if (!r->cfg->out_path || r->saved_step == r->done) return PN_OK;
  if (!(k.state = pn_run_state_json(r))) {
    st = PN_FAIL(PN_ERR_NOMEM, "state of the run: out of memory");
    return pn_agree(r->comm, st);
  }
  st = pn_strategy_sync_buffers(r->strategy);
  if (st == PN_OK) st = pn_checkpoint_save(&k);
  json_decref(k.state);
  if (st != PN_OK) return st;
  r->saved_step = r->done;
  r->t_saved_s = pn_now();
  return PN_OK;
}

bool pn_run_save_due(const pn_run *r) {
  int64_t every = r->cfg->checkpoint_steps;
  return r->cfg->out_path && every > 0 && r->done % every == 0;
}

/* Rank 0's clock decides for all. */
static pn_status due_by_clock(pn_run *r, int *due) {
  *due = pn_now() - r->t_saved_s >= SAVE_EVERY_S;
  return pn_bcast(r->comm, "time for a checkpoint?", due, 1, PN_I32, 0);
}

pn_status pn_run_save_epoch(pn_run *r, bool improved) {
  const pn_train_config *c = r->cfg;
  int due = pn_run_save_due(r) || (improved && c->keep_best) ||
            (c->checkpoint_epochs > 0 && r->epoch % c->checkpoint_epochs == 0);
  pn_status st = PN_OK;

  if (!c->out_path || r->done == r->n_steps) return PN_OK; /* the end is saved anyway */
  if (!due && c->checkpoint_steps == 0 && c->checkpoint_epochs == 0) st = due_by_clock(r, &due);
  return st == PN_OK && due ? pn_run_save(r) : st;
}
