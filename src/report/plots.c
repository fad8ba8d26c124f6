/* plots.c -- gnuplot scripts with inline data.  Points are measured and carry their 95 % interval;
 * only the ideal line and fitted laws are lines. */
#include "report/plots.h"

#include "base/file.h"
#include "report/gnuplot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { ONE, STRONG, WEAK, OVER, N_SERIES } series;
static const char *const titles[N_SERIES] = {"one process", "strong (global batch fixed)",
                                             "weak (batch per rank fixed)",
                                             "more threads than cores"};
static const char *const marks[N_SERIES] = {"pt 5 lc rgb '#2d6a4f'", "pt 7 lc rgb '#1b6ca8'",
                                            "pt 9 lc rgb '#c1440e'", "pt 6 lc rgb '#777777'"};

static series series_of(const pn_study_row *r) {
  if (r->oversubscribed) return OVER;
  if (r->ranks == 1) return ONE;
  return r->weak ? WEAK : STRONG;
}

/* Names of rows go into quoted gnuplot text: quotes, backslashes and its enhanced marks go. */
static void safe_name(const char *name, char out[PN_STUDY_NAME]) {
  size_t n = 0;
  for (; *name && n + 1 < PN_STUDY_NAME; name++)
    out[n++] = strchr("\"\\`$@{}^_&~'", *name) ? '-' : *name;
  out[n] = '\0';
}

/* cores, value, low and high end of its interval, name.  The interval is that of the row's time. */
static int write_series(FILE *f, const pn_study *s, series which, bool efficiency) {
  int n = 0;

  fprintf(f, "$series%d << EOD\n", (int)which);
  for (int i = 0; i < s->n; i++) {
    const pn_study_row *r = &s->rows[i];
    double v = efficiency ? r->efficiency : r->speedup;
    char name[PN_STUDY_NAME];
    if (!r->ok || !isfinite(v) || series_of(r) != which) continue;
    safe_name(r->name, name);
    fprintf(f, "%d %.6g %.6g %.6g \"%s\"\n", r->cores, v, v * r->step.median / r->step.ci95[1],
            v * r->step.median / r->step.ci95[0], name);
    n++;
  }
  fputs("EOD\n", f);
  return n;
}

static int most_cores(const pn_study *s) {
  int most = 2;
  for (int i = 0; i < s->n; i++)
    if (s->rows[i].ok && s->rows[i].cores > most) most = s->rows[i].cores;
  return most;
}

static void write_head(FILE *f, const pn_study *s, bool efficiency) {
  int base = s->rows[s->base].cores, most = most_cores(s);

  fputs("# Run with: gnuplot FILE.gp\n", f);
  fprintf(f, "set xlabel 'cores (ranks x threads)'\nset ylabel '%s'\nset grid\n",
          efficiency ? "efficiency" : "speedup");
  fputs("set key outside bottom center horizontal spacing 1.3\nset pointsize 1.3\n", f);
  fprintf(f, "set xrange [0.5:%d.5]\nset yrange [0:*]\nset xtics 1,%d\n", most,
          most > 16 ? most / 8 : 1);
  fprintf(f, "base = %d.0\nideal(x) = %s\n", base, efficiency ? "1" : "x / base");
}

static void write_fit(FILE *f, const pn_study *s, bool efficiency) {
  const pn_estimate *e = &s->amdahl.serial_fraction;
  int p1 = s->strong.base < 0 ? 1 : s->rows[s->strong.base].cores;
  double scale =
      s->strong.base < 0 ? 1 : s->rows[s->strong.base].images_per_s / s->rows[s->base].images_per_s;

  if (s->amdahl.info.refused[0]) return;
  fprintf(f, "law(f, x) = x < %d ? NaN : %.9g / (f + (1 - f) * %d / x)%s\n", p1, scale, p1,
          efficiency ? " / (x / base)" : "");
  fprintf(f,
          "set label 1 'Amdahl: f = %.3f (95%% CI %.3f to %.3f)' at graph 0.98, graph 0.05 right\n",
          e->value, e->ci95[0], e->ci95[1]);
}

static void write_plot(FILE *f, const pn_study *s, const int count[N_SERIES]) {
  const pn_estimate *e = &s->amdahl.serial_fraction;
  const char *comma = "";

  fputs("plot ", f);
  if (!s->amdahl.info.refused[0]) {
    fprintf(f,
            "'+' using 1:(law(%.6g, $1)):(law(%.6g, $1)) with filledcurves fs solid 0.15 "
            "noborder lc rgb '#1b6ca8' title '95%% CI of the fit', \\\n"
            "  law(%.6g, x) lc rgb '#1b6ca8' title 'Amdahl fit', \\\n",
            e->ci95[0], e->ci95[1], e->value);
    comma = "  ";
  }
  fprintf(f, "%sideal(x) dt 2 lc rgb '#999999' title 'ideal'", comma);
  for (int i = 0; i < N_SERIES; i++) {
    if (!count[i]) continue;
    fprintf(f, ", \\\n  $series%d using 1:2:3:4 with yerrorbars %s title '%s'", i, marks[i],
            titles[i]);
    fprintf(f, ", \\\n  '' using 1:2:5 with labels left offset 1,%s font ',9' notitle",
            i == WEAK ? "0.6" : "-0.6");
  }
  fputc('\n', f);
}

static pn_status write_script(const pn_study *s, const char *path, const char *name,
                              bool efficiency) {
  char *text = NULL;
  size_t bytes = 0;
  int count[N_SERIES];
  pn_status st;
  FILE *f = open_memstream(&text, &bytes);

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  write_head(f, s, efficiency);
  for (int i = 0; i < N_SERIES; i++) count[i] = write_series(f, s, (series)i, efficiency);
  write_fit(f, s, efficiency);
  fprintf(f, "set terminal svg size 800,560 background rgb 'white'\nset output '%s.svg'\n", name);
  write_plot(f, s, count);
  fprintf(f, "set terminal pngcairo size 1000,700\nset output '%s.png'\n", name);
  write_plot(f, s, count);
  if (fclose(f) != 0) {
    free(text);
    return PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  }
  st = pn_file_write(path, text, bytes);
  free(text);
  return st;
}

static pn_status draw(const pn_study *s, const char *dir, const char *name, bool *drawn) {
  char path[1024], script[64];
  bool efficiency = strcmp(name, "efficiency") == 0;
  pn_status st;
  int rc;

  snprintf(script, sizeof script, "%s.gp", name);
  PN_TRY(pn_path_join(path, sizeof path, dir, script));
  PN_TRY(write_script(s, path, name, efficiency));
  PN_TRY(pn_gnuplot_run(dir, script, &rc));
  *drawn = rc == 0;
  if (rc > 0) st = PN_FAIL(PN_ERR_IO, "gnuplot %s ended with code %d; try it by hand", path, rc);
done:
  return st;
}

pn_status pn_plots_write(const pn_study *s, const char *dir, bool *drawn) {
  pn_status st;

  *drawn = false;
  if (s->base < 0) return PN_OK;
  st = draw(s, dir, "speedup", drawn);
  return st != PN_OK ? st : draw(s, dir, "efficiency", drawn);
}
