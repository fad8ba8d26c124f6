/* study_report.c -- the study as a person reads it: table, legend, fits; as text and Markdown. */
#include "report/study.h"

#include "report/cells.h"
#include "report/study_gpu.h"
#include "report/tables.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Three significant digits are enough for a time. */
static int time_decimals(double ms) {
  return ms < 10 ? 2 : ms < 100 ? 1 : 0;
}

static const pn_table_column short_columns[] = {
    {"row", "", false},     {"strategy", "", false}, {"scaling", "", false},
    {"ranks", "", true},    {"thr", "/rank", true},  {"batch", "images", true},
    {"step", "ms", true},   {"95 % CI", "ms", true}, {"images/s", "", true},
    {"vs 1", "rank", true}, {"speedup", "x", true},  {"eff", "%", true},
    {"K-F", "", true},      {"comm", "%", true},     {"loss", "train", true},
    {"loss", "val", true},  {"acc", "%", true},      {"prec", "%", true},
    {"recall", "%", true}};
enum {
  SHORT_COLUMNS = sizeof short_columns / sizeof *short_columns,
  MIN_STEPS = 6 /* fewer order statistics give no 95 % interval */
};

static void short_line(const pn_study_row *r, pn_cells *l) {
  int d = time_decimals(r->step.median);

  l->n = 0;
  pn_cells_put(l, "%s%s%s", r->name, r->oversubscribed ? " *" : "", r->other_batch ? " #" : "");
  pn_cells_put(l, "%s", r->train.strategy);
  pn_cells_put(l, "%s", r->ranks == 1 ? "" : r->weak ? "weak" : "strong");
  pn_cells_put(l, "%d", r->ranks);
  if (!r->ok) {
    while (l->n < SHORT_COLUMNS) pn_cells_put(l, "-");
    return;
  }
  pn_cells_put(l, "%d", r->threads);
  pn_cells_put(l, "%lld", (long long)r->global_batch);
  pn_cells_number(l, d, r->step.median, 1);
  if (r->step.n >= MIN_STEPS)
    pn_cells_put(l, "%.*f-%.*f", d, r->step.ci95[0], d, r->step.ci95[1]);
  else
    pn_cells_put(l, "-");
  pn_cells_number(l, r->images_per_s < 1000 ? 1 : 0, r->images_per_s, 1);
  pn_cells_number(l, 2, r->over_one_rank, 1);
  pn_cells_number(l, 2, r->speedup, 1);
  pn_cells_number(l, 0, r->efficiency, 100);
  pn_cells_number(l, 3, r->karp_flatt, 1);
  pn_cells_number(l, 1, r->comm_share, 100);
  pn_cells_number(l, 3, r->loss, 1);
  pn_cells_number(l, 3, r->val_loss, 1);
  pn_cells_number(l, 1, r->accuracy, 100);
  pn_cells_number(l, 1, r->precision, 100);
  pn_cells_number(l, 1, r->recall, 100);
}

static pn_status short_table(const pn_study *s, pn_table **out) {
  pn_status st = pn_table_create(short_columns, SHORT_COLUMNS, out);
  pn_cells l;

  for (int i = 0; st == PN_OK && i < s->n; i++) {
    short_line(&s->rows[i], &l);
    st = pn_table_add(*out, l.cell);
  }
  if (st != PN_OK) {
    pn_table_destroy(*out);
    *out = NULL;
  }
  return st;
}

/* Notes below the table: one sentence a line, `bullet` before each. */
typedef struct {
  FILE *f;
  const char *bullet;
} notes;

static void say(const notes *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const notes *n, const char *fmt, ...) {
  va_list ap;
  fputs(n->bullet, n->f);
  va_start(ap, fmt);
  vfprintf(n->f, fmt, ap);
  va_end(ap);
  fputc('\n', n->f);
}

static void say_base(const notes *n, const pn_study *s) {
  const pn_study_row *b = s->base < 0 ? NULL : &s->rows[s->base];

  if (!b) {
    say(n, "No base: no single-rank row was run, so there is no speedup.");
    return;
  }
  say(n,
      "Base: %s, the best single-rank row (%d thread%s, %.*f ms per step of %lld images, "
      "%.1f images/s).",
      b->name, b->threads, b->threads == 1 ? "" : "s", time_decimals(b->step.median),
      b->step.median, (long long)b->global_batch, b->images_per_s);
  if (isfinite(s->drift))
    say(n, "Drift: the base measured again at the end took %+.1f %% of its time.%s", 100 * s->drift,
        fabs(s->drift) > 0.05 ? " More than 5 %: other work on the machine?" : "");
}

/* Other work shares the cores: the times are then an upper bound at best. */
static void say_load(const notes *n, const pn_study *s) {
  const json_t *place = json_array_get(json_object_get(s->machine, "ranks"), 0);
  double load = json_number_value(json_object_get(s->machine, "load_1min"));
  json_int_t cores = json_integer_value(json_object_get(place, "n_cores"));

  if (load >= 0.5)
    say(n,
        "Load: %.1f processes wanted the %lld core%s of rank 0 in the minute before the start; "
        "measure on an idle machine.",
        load, (long long)cores, cores == 1 ? "" : "s");
}

static void say_columns(const notes *n, const pn_study *s) {
  say(n,
      "step: slowest rank of each step after warm-up, median over steps and %d run%s; its 95 %% "
      "CI by order statistics.",
      s->repeats, s->repeats == 1 ? "" : "s");
  say(n, "vs 1 rank: images/s over those of one rank with as many threads per rank.");
  say(n, "speedup: images/s over the base's; eff: speedup / (cores / cores of the base); "
         "K-F: Karp-Flatt serial fraction (strong rows).");
  say(n, "comm: share of the step spent on communication instead of computing (not hidden; -: "
         "inside the steps of GPUs). acc, prec, recall: val split after the last epoch.");
}

static void say_exact(const notes *n, const pn_study *s) {
  for (int i = 0; i < s->n; i++) {
    const pn_study_row *r = &s->rows[i], *o = r->ordinary < 0 ? NULL : &s->rows[r->ordinary];
    if (o && r->train.leaves > 0)
      say(n, "Exact sums: a step of %s takes %.2f times that of %s (%.*f against %.*f ms).",
          r->name, r->exact_cost, o->name, time_decimals(r->step.median), r->step.median,
          time_decimals(o->step.median), o->step.median);
  }
}

static void say_gpus(const notes *n, const pn_study *s) {
  char text[256];

  for (int i = 0; i < s->n; i++) {
    pn_study_gpu_text(&s->rows[i], text, sizeof text);
    if (text[0]) say(n, "%s: GPU %s.", s->rows[i].name, text);
  }
}

static void say_marks(const notes *n, const pn_study *s) {
  bool over = false, other = false;

  for (int i = 0; i < s->n; i++) {
    over = over || s->rows[i].oversubscribed;
    other = other || s->rows[i].other_batch;
    if (!s->rows[i].ok) say(n, "%s: %s", s->rows[i].name, s->rows[i].status);
    if (s->rows[i].ok && s->rows[i].step.n < MIN_STEPS)
      say(n, "%s: %lld timed steps are too few for an interval: raise train.steps or study.steps.",
          s->rows[i].name, (long long)s->rows[i].step.n);
    if (s->rows[i].ok && !s->rows[i].same_weights)
      say(n, "%s: a repeat ended with OTHER WEIGHTS than the first run.", s->rows[i].name);
  }
  if (over) say(n, "*: more threads than cores; time is shared, so the row is not used in a fit.");
  if (other)
    say(n,
        "#: other batch than the base's (global in strong rows, per rank in weak ones); not used "
        "in a fit.");
}

static void say_fraction(const notes *n, const pn_study *s, const char *name,
                         const pn_fraction_fit *fit, const pn_study_fit *f) {
  const pn_estimate *e = &fit->serial_fraction;

  if (fit->info.refused[0]) {
    say(n, "%s: no fit. %s.", name, fit->info.refused);
    return;
  }
  say(n,
      "%s: serial fraction %.4f, 95 %% CI %.4f to %.4f (%d measurements at %d sizes, base %s, "
      "rms residual %.1f %%).%s%s%s",
      name, e->value, e->ci95[0], e->ci95[1], fit->info.points, fit->info.sizes,
      s->rows[f->base].name, 100 * fit->info.rms, fit->info.warning[0] ? " Caution: " : "",
      fit->info.warning, fit->info.warning[0] ? "." : "");
  if (f->left_out[0]) say(n, "%s: left out: %s.", name, f->left_out);
}

static void say_usl(const notes *n, const pn_study *s) {
  const pn_usl_fit *u = &s->usl;

  if (u->info.refused[0]) {
    say(n, "USL: no fit. %s.", u->info.refused);
    return;
  }
  say(n,
      "USL: sigma %.4f (%.4f to %.4f), kappa %.5f (%.5f to %.5f), lambda %.3f (%.3f to %.3f).%s%s",
      u->sigma.value, u->sigma.ci95[0], u->sigma.ci95[1], u->kappa.value, u->kappa.ci95[0],
      u->kappa.ci95[1], u->lambda.value, u->lambda.ci95[0], u->lambda.ci95[1],
      u->info.warning[0] ? " Caution: " : "", u->info.warning);
  if (isfinite(u->n_max.value))
    say(n, "USL: most images/s at %.1f times the base's cores (%.1f to %.1f).", u->n_max.value,
        u->n_max.ci95[0], u->n_max.ci95[1]);
}

static void say_all(const notes *n, const pn_study *s) {
  say_base(n, s);
  say_load(n, s);
  say_columns(n, s);
  say_exact(n, s);
  say_gpus(n, s);
  say_marks(n, s);
  say_fraction(n, s, "Amdahl (strong)", &s->amdahl, &s->strong);
  say_fraction(n, s, "Gustafson (weak)", &s->gustafson, &s->weak);
  say_usl(n, s);
}

static void say_machine(const notes *n, const pn_study *s) {
  const char *key;
  json_t *value;

  json_object_foreach(s->machine, key, value) {
    char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
    say(n, "%s: %s", key, text ? text : json_string_value(value));
    free(text);
  }
}

typedef pn_status (*render_fn)(const pn_table *t, char **out);

/* Title, table, notes; in Markdown also the machine and the plots. */
static pn_status compose(const pn_study *s, render_fn render, bool markdown, char **out) {
  pn_table *t = NULL;
  char *table = NULL;
  size_t bytes;
  pn_status st;
  FILE *f = NULL;
  notes n = {.bullet = markdown ? "- " : "  "};

  *out = NULL;
  PN_TRY(short_table(s, &t));
  PN_TRY(render(t, &table));
  if (!(f = n.f = open_memstream(out, &bytes))) {
    st = PN_FAIL(PN_ERR_NOMEM, "study report: out of memory");
    goto done;
  }
  fprintf(f, "%s%s\n", markdown ? "# Scaling study\n\n" : "", table);
  say_all(&n, s);
  if (markdown) {
    if (s->plotted) fputs("\n![speedup](speedup.svg)\n\n![efficiency](efficiency.svg)\n", f);
    fputs("\n## Machine\n\n", f);
    say_machine(&n, s);
  }
  if (fclose(f) != 0) st = PN_FAIL(PN_ERR_NOMEM, "study report: out of memory");
done:
  free(table);
  pn_table_destroy(t);
  return st;
}

pn_status pn_study_text(const pn_study *s, char **out) {
  return compose(s, pn_table_text, false, out);
}

pn_status pn_study_markdown(const pn_study *s, char **out) {
  return compose(s, pn_table_markdown, true, out);
}
