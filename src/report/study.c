/* study.c -- runs the rows of a study: sub-communicators, passes, what is kept of each run. */
#include "report/study.h"

#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/signals.h"
#include "comm/place.h"
#include "prof/stats.h"
#include "report/study_progress.h"
#include "train/rank_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One run of one row. */
typedef struct {
  pn_study *study;
  pn_comm *world;
  pn_dataset *data;
  const char *rows_path;
  json_t *progress; /* rank 0; NULL without rows_path */
  int row, pass;
} task;

pn_status pn_study_create(int n_rows, pn_study **out) {
  pn_study *s = calloc(1, sizeof *s);

  *out = NULL;
  if (s) s->rows = calloc((size_t)n_rows, sizeof *s->rows);
  if (!s || !s->rows) {
    free(s);
    return PN_FAIL(PN_ERR_NOMEM, "study of %d rows: out of memory", n_rows);
  }
  s->n = n_rows;
  s->base = s->strong.base = s->weak.base = -1;
  s->repeats = 1;
  s->drift = NAN;
  *out = s;
  return PN_OK;
}

void pn_study_destroy(pn_study *s) {
  if (!s) return;
  for (int i = 0; i < s->n; i++) {
    json_decref(s->rows[i].options);
    json_decref(s->rows[i].record);
  }
  json_decref(s->machine);
  free(s->rows);
  free(s);
}

/* Half of the 95 % interval as a standard error, relative. */
static double relative_error(const pn_step_time *t) {
  double half = (t->ci95[1] - t->ci95[0]) / 2;
  return t->median > 0 && half > 0 ? half / 1.96 / t->median : 0;
}

/* Median over the runs of a row: of their step times, or of their shares of communication. */
static double over_repeats(const pn_study_row *row, bool share) {
  double sorted[PN_STUDY_MAX_REPEATS];

  for (int i = 0; i < row->n_repeats; i++)
    sorted[i] = share ? row->repeat[i].comm_share : row->repeat[i].median_ms;
  pn_sort_doubles(sorted, row->n_repeats);
  return pn_median(sorted, row->n_repeats);
}

static void merge_interval(pn_step_time *t, const pn_step_time *run) {
  t->ci95[0] = fmin(t->ci95[0], run->ci95[0]);
  t->ci95[1] = fmax(t->ci95[1], run->ci95[1]);
  t->p95 = fmax(t->p95, run->p95);
  t->n += run->n;
}

/* Runs are comparable when their timed steps hold equally many images; a short run may have only
 * the small last batch of an epoch left after warm-up.  The largest batch counts. */
static void keep_repeat(pn_study_row *row, const pn_train_result *r) {
  int64_t images = llround(r->images_per_s * r->step_ms.median / 1e3);
  pn_step_time *t = &row->step;

  if (images < row->global_batch) return;
  if (images > row->global_batch) row->n_repeats = 0;
  row->global_batch = images;
  if (row->n_repeats == 0)
    *t = r->step_ms;
  else
    merge_interval(t, &r->step_ms);
  row->repeat[row->n_repeats++] = (pn_study_repeat){
      .median_ms = r->step_ms.median,
      .rel_se = relative_error(&r->step_ms),
      .comm_share = r->comm_inside ? NAN : r->comm_exposed_ms / r->step_ms.median};
  t->median = over_repeats(row, false);
  row->comm_share = over_repeats(row, true);
  row->images_per_s = 1e3 * (double)row->global_batch / t->median;
}

static void keep_first(pn_study_row *row, const pn_train_result *r) {
  const char *device = json_string_value(json_object_get(r->record, "device"));
  bool val = r->val.n > 0;

  row->ok = row->same_weights = true;
  snprintf(row->status, sizeof row->status, "ok");
  snprintf(row->device, sizeof row->device, "%.15s", device ? device : row->train.device);
  snprintf(row->weights_sha256, sizeof row->weights_sha256, "%s", r->weights_sha256);
  row->seconds = r->seconds;
  row->loss = r->final_loss;
  row->val_loss = val ? r->val.loss : NAN;
  row->accuracy = val ? r->val.accuracy : NAN;
  row->precision = val ? r->val.precision : NAN;
  row->recall = val ? r->val.recall : NAN;
  row->record = json_incref(r->record);
}

static pn_status write_record(const char *rows_path, const pn_study_row *row) {
  char path[1024], name[PN_STUDY_NAME + 8];
  char *text = NULL;
  pn_status st = PN_OK;

  if (!rows_path || !row->record) return PN_OK;
  snprintf(name, sizeof name, "%s.json", row->name);
  PN_TRY(pn_path_join(path, sizeof path, rows_path, name));
  if (!(text = json_dumps(row->record, JSON_INDENT(2)))) {
    st = PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
    goto done;
  }
  PN_TRY(pn_file_write(path, text, strlen(text)));
done:
  free(text);
  return st;
}

/* The row's place is known once its communicator exists. */
static pn_status find_place(pn_study_row *row, pn_comm *c, bool speak) {
  pn_place_map map = {0};
  pn_status st = pn_place_make(c, row->threads_wanted, &map);

  if (st != PN_OK) return st;
  row->threads = map.rank[pn_comm_rank(c)].threads;
  row->oversubscribed = map.oversubscribed;
  row->cores = 0;
  for (int i = 0; i < map.size; i++) row->cores += map.rank[i].threads;
  for (int i = 0; speak && i < map.n_warnings; i++)
    pn_warn("row %s: %s", row->name, map.warning[i]);
  pn_place_free(&map);
  return PN_OK;
}

static bool is_shortened(const task *t) {
  return t->pass > 0 && t->study->repeat_steps > 0;
}

static void keep(const task *t, const pn_train_result *r) {
  pn_study_row *row = &t->study->rows[t->row];

  if (t->pass == 0) keep_first(row, r);
  if (t->pass > 0 && !is_shortened(t))
    row->same_weights &= strcmp(row->weights_sha256, r->weights_sha256) == 0;
  keep_repeat(row, r);
}

/* On disk; the check for drift is not. */
static pn_status remember(const task *t, const pn_train_result *r) {
  pn_status st = PN_OK;

  if ((st = pn_lock_check(t->study->lock)) != PN_OK) return st;
  if (t->pass == 0) st = write_record(t->rows_path, &t->study->rows[t->row]);
  if (st != PN_OK || !t->progress || t->pass >= t->study->repeats) return st;
  return pn_study_progress_add(t->progress, t->rows_path, t->row, t->pass, r);
}

/* Does the outcome of a run depend on its validations? */
static bool follows_validation(const pn_train_config *c) {
  return strcmp(c->schedule.name, "plateau") == 0 ||
         (c->patience > 0 && strcmp(c->monitor, "loss") != 0);
}

/* Later passes measure steps: the first ones of the first pass again, or all of it. */
static void set_pass(const task *t, pn_train_config *cfg) {
  if (t->pass == 0) return;
  if (is_shortened(t)) {
    cfg->only_steps = t->study->repeat_steps;
    cfg->patience = 0;
  }
  if (is_shortened(t) || !follows_validation(cfg)) cfg->validate = false;
}

/* On a rank of the row. */
static pn_status train_once(const task *t, pn_comm *c) {
  pn_study_row *row = &t->study->rows[t->row];
  pn_train_config cfg = row->train;
  pn_train_result r;
  pn_status st;

  if ((st = find_place(row, c, t->pass == 0)) != PN_OK) return st;
  cfg.threads = row->threads;
  cfg.options = row->options;
  cfg.out_path = NULL;
  cfg.resume = false;
  set_pass(t, &cfg);
  memset(&r, 0, sizeof r);
  st = pn_train(&cfg, c, t->data, &r);
  if (st == PN_OK) keep(t, &r);
  if (st == PN_OK && pn_comm_rank(c) == 0) st = remember(t, &r);
  pn_train_result_free(&r);
  return st;
}

/* A run of an earlier start of this study; on a rank of the row. */
static pn_status recall(const task *t, pn_comm *c) {
  pn_train_result r;
  pn_status st = find_place(&t->study->rows[t->row], c, t->pass == 0);

  if (st != PN_OK || !pn_study_progress_find(t->progress, t->row, t->pass, &r)) return st;
  keep(t, &r);
  pn_train_result_free(&r);
  return PN_OK;
}

static void announce(const task *t) {
  const pn_study *s = t->study;
  const pn_study_row *row = &s->rows[t->row];
  char pass[48] = "";

  if (s->repeats > 1 && t->pass < s->repeats)
    snprintf(pass, sizeof pass, ", run %d of %d", t->pass + 1, s->repeats);
  if (t->pass >= s->repeats) snprintf(pass, sizeof pass, ", once more for drift");
  pn_info("row %d of %d: %s (%d rank%s)%s", t->row + 1, s->n, row->name, row->ranks,
          row->ranks == 1 ? "" : "s", pass);
}

/* The last message without its "file.c:12: ": a new one of that form is put around it. */
static const char *last_message(void) {
  const char *text = pn_last_error(), *colon = strchr(text, ':');
  size_t name = strcspn(text, ": "), digits;

  if (!colon || name < 3 || text[name] != ':' || strncmp(text + name - 2, ".c", 2) != 0)
    return text;
  digits = strspn(colon + 1, "0123456789");
  return digits && strncmp(colon + 1 + digits, ": ", 2) == 0 ? colon + 3 + digits : text;
}

/* Slurm's wish that the job ends, at any rank: what is measured is on disk. */
static pn_status stop_if_asked(const task *t) {
  int64_t number = pn_signals_caught();
  pn_status st = pn_allreduce(t->world, "wish to stop", &number, 1, PN_I64, PN_MAX);

  if (st != PN_OK || number == 0) return st;
  st = PN_FAIL(PN_ERR_STOPPED,
               "stopped by %s after a run of row '%s'; the same command with train.resume=true and "
               "its out.path goes on",
               pn_signal_name((int)number), t->study->rows[t->row].name);
  return pn_agree(t->world, st);
}

/* All ranks of the world come here; those of the row train, the others sleep until they are done.
 */
static pn_status run_row(const task *t, bool known) {
  pn_study_row *row = &t->study->rows[t->row];
  int rank = pn_comm_rank(t->world);
  pn_comm *c = NULL;
  char why[800];
  pn_status st, mine = PN_OK;

  if (!known) announce(t);
  st = pn_comm_split(t->world, rank < row->ranks ? 0 : -1, rank, &c);
  if (st != PN_OK) return st;
  if (c) mine = known ? recall(t, c) : train_once(t, c);
  pn_comm_destroy(c);
  if (mine != PN_OK) {
    snprintf(why, sizeof why, "%s", last_message());
    mine = PN_FAIL(mine, "row '%s' of the study: %s", row->name, why);
  }
  st = pn_barrier_idle(t->world, "end of a study row");
  return st != PN_OK ? st : pn_agree(t->world, mine);
}

/* One run, unless an earlier start of this study made it. */
static pn_status take_run(const task *t) {
  int32_t known = pn_study_progress_find(t->progress, t->row, t->pass, NULL);
  pn_status st = pn_bcast(t->world, "run of an earlier start?", &known, 1, PN_I32, 0);

  if (st == PN_OK) st = run_row(t, known != 0);
  return st == PN_OK && !known ? stop_if_asked(t) : st;
}

static pn_status open_progress(task *t) {
  pn_status st = PN_OK;

  if (pn_comm_rank(t->world) == 0 && t->rows_path)
    st = pn_study_progress_open(t->rows_path, t->study, &t->progress);
  return pn_agree(t->world, st);
}

/* Rows that this launch cannot hold say what they need. */
static bool runnable(pn_study_row *row, int launched) {
  if (strncmp(row->status, "not run", 7) == 0) return false;
  if (row->ranks <= launched) return true;
  snprintf(row->status, sizeof row->status,
           "not run: needs %d ranks, launched %d (mpirun -n %d pneuma study ...)", row->ranks,
           launched, row->ranks);
  return false;
}

/* A device that this build or machine has not got: the row says so, the others go on. */
static pn_status find_devices(pn_study *s, pn_comm *world) {
  for (int i = 0; i < s->n; i++) {
    pn_study_row *row = &s->rows[i];
    pn_device_spec spec = {.name = row->train.device, .threads = 1};
    pn_device *d = NULL;
    pn_status st = pn_rank_device(world, &spec, true, &d);
    pn_device_destroy(d);
    if (st == PN_OK) continue;
    if (st != PN_ERR_UNSUPPORTED && st != PN_ERR_DEVICE) return st;
    snprintf(row->status, sizeof row->status, "not run: %.200s", last_message());
  }
  return PN_OK;
}

/* File order in the first pass, another order in each later one: drift does not favour a row. */
static void order_of_pass(const pn_study *s, int pass, int *order) {
  pn_rng r = pn_rng_make(s->seed, PN_RNG_BOOTSTRAP, (uint64_t)pass, 1);

  for (int i = 0; i < s->n; i++) order[i] = i;
  for (int i = s->n - 1; pass > 0 && i > 0; i--) {
    int k = (int)pn_rng_below(&r, (uint32_t)i + 1), swap = order[i];
    order[i] = order[k];
    order[k] = swap;
  }
}

/* The base once more at the end: has the machine changed meanwhile?  Rank 0 knows which row. */
static pn_status measure_drift(task *t) {
  pn_study *s = t->study;
  int32_t base = pn_study_find_base(s);
  pn_study_row *row, before;
  pn_status st = pn_bcast(t->world, "base row", &base, 1, PN_I32, 0);

  if (st != PN_OK || base < 0) return st;
  t->row = base;
  t->pass = s->repeats;
  row = &s->rows[base];
  before = *row;
  row->n_repeats = 0;
  if ((st = run_row(t, false)) != PN_OK) return st;
  if (row->n_repeats > 0) s->drift = before.images_per_s / row->images_per_s - 1;
  before.same_weights = row->same_weights;
  *row = before; /* it is a check, not one more repeat */
  return PN_OK;
}

pn_status pn_study_run(pn_study *s, pn_comm *world, pn_dataset *d, const char *rows_path) {
  task t = {.study = s, .world = world, .data = d, .rows_path = rows_path};
  int order[PN_STUDY_MAX_ROWS];
  pn_status st = PN_OK;

  if (s->n < 1 || s->n > PN_STUDY_MAX_ROWS || s->repeats < 1 || s->repeats > PN_STUDY_MAX_REPEATS)
    return PN_FAIL(PN_ERR_ARG, "study of %d rows, %d runs each: at most %d and %d", s->n,
                   s->repeats, PN_STUDY_MAX_ROWS, PN_STUDY_MAX_REPEATS);
  PN_TRY(find_devices(s, world));
  PN_TRY(open_progress(&t));
  for (t.pass = 0; t.pass < s->repeats; t.pass++) {
    int pass = t.pass;
    order_of_pass(s, pass, order);
    for (int i = 0; i < s->n; i++) {
      t.row = order[i];
      if (!runnable(&s->rows[t.row], pn_comm_size(world))) continue;
      PN_TRY(take_run(&t));
    }
  }
  PN_TRY(measure_drift(&t));
done:
  json_decref(t.progress);
  return st;
}
