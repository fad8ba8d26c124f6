/* run_plots.c -- gnuplot scripts with inline data for one run. */
#include "report/run_plots.h"

#include "base/file.h"
#include "report/gnuplot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TEXT = 24, MOST_LEVEL = 4 }; /* classes: numbers in the cells, names side by side */
enum { TITLE_BYTES = 48 };

/* Names of classes go into quoted gnuplot text: quotes, backslashes and its enhanced marks go. */
static void put_name(FILE *f, const char *name) {
  for (; *name; name++) fputc(strchr("\"\\`$@{}^_&~'", *name) ? '-' : *name, f);
}

static void put_number(FILE *f, json_t *x) {
  if (json_is_number(x))
    fprintf(f, " %.6g", json_number_value(x));
  else
    fputs(" NaN", f);
}

/* epoch, loss, val loss, accuracy, auc, recall, lr */
static void write_epochs(FILE *f, json_t *epochs) {
  json_t *e;
  size_t i;

  fputs("$epochs << EOD\n", f);
  json_array_foreach(epochs, i, e) {
    json_t *val = json_object_get(e, "val");
    fprintf(f, "%lld", (long long)json_integer_value(json_object_get(e, "epoch")));
    put_number(f, json_object_get(e, "loss"));
    put_number(f, json_object_get(val, "loss"));
    put_number(f, json_object_get(val, "accuracy"));
    put_number(f, json_object_get(val, "auc"));
    put_number(f, json_object_get(val, "recall"));
    put_number(f, json_object_get(e, "lr"));
    fputc('\n', f);
  }
  fputs("EOD\n", f);
}

static void plot_curves(FILE *f) {
  fputs("set multiplot layout 3,1\nset ylabel 'loss'\nset yrange [0:*]\n"
        "plot $epochs using 1:2 with linespoints pt 7 lc rgb '#1b6ca8' title 'training', \\\n"
        "  '' using 1:3 with linespoints pt 5 lc rgb '#c1440e' title 'validation'\n"
        "set ylabel 'validation'\nset yrange [*:1.02]\n"
        "plot $epochs using 1:4 with linespoints pt 7 lc rgb '#2d6a4f' title 'accuracy', \\\n"
        "  '' using 1:5 with linespoints pt 5 lc rgb '#1b6ca8' title 'AUC', \\\n"
        "  '' using 1:6 with linespoints pt 9 dt 3 lc rgb '#c1440e' title 'recall'\n"
        "set ylabel 'learning rate at the end'\nset yrange [0:*]\nset xlabel 'epoch'\n"
        "plot $epochs using 1:7 with linespoints pt 7 lc rgb '#777777' notitle\nunset multiplot\n"
        "unset xlabel\n",
        f);
}

/* A run that was not validated has no second panel. */
static void plot_loss(FILE *f) {
  fputs("set ylabel 'loss'\nset xlabel 'epoch'\nset yrange [0:*]\n"
        "plot $epochs using 1:2 with linespoints pt 7 lc rgb '#1b6ca8' title 'training'\n",
        f);
}

static void write_curves(FILE *f, json_t *record) {
  json_t *epochs = json_object_get(record, "epochs");
  size_t n = json_array_size(epochs);
  bool val = json_is_object(json_object_get(json_array_get(epochs, 0), "val"));

  fputs("# Run with: gnuplot curves.gp\nset grid\nset xtics nomirror\n"
        "set key outside right\nset lmargin 11\nset rmargin 20\n",
        f);
  fprintf(f, "set xrange [0.5:%zu.5]\nset xtics %zu\n", n, n > 12 ? n / 10 : 1);
  write_epochs(f, epochs);
  fputs("set terminal svg size 800,840 background rgb 'white'\nset output 'curves.svg'\n", f);
  if (val)
    plot_curves(f);
  else
    plot_loss(f);
  fputs("set terminal pngcairo size 1000,1050\nset output 'curves.png'\n", f);
  if (val)
    plot_curves(f);
  else
    plot_loss(f);
}

/* truth, decision, images, share of the truth's row */
static void write_matrix(FILE *f, json_t *confusion) {
  json_t *row, *cell;
  size_t i, j;

  fputs("$cells << EOD\n", f);
  json_array_foreach(confusion, i, row) {
    double sum = 0;
    json_array_foreach(row, j, cell) sum += json_number_value(cell);
    json_array_foreach(row, j, cell) {
      double n = json_number_value(cell);
      fprintf(f, "%zu %zu %.0f %.4f\n", i, j, n, sum > 0 ? n / sum : 0);
    }
  }
  fputs("EOD\n", f);
}

static void write_tics(FILE *f, const char *axis, json_t *classes) {
  json_t *c;
  size_t i;

  fprintf(f, "set %stics (", axis);
  json_array_foreach(classes, i, c) {
    const char *name = json_string_value(json_object_get(c, "name"));
    fputs(i ? ", \"" : "\"", f);
    put_name(f, name ? name : "?");
    fprintf(f, "\" %zu", i);
  }
  fputs(")\n", f);
}

/* Cells have room for their text; of very many classes only the colours are shown. */
static void plot_matrix(FILE *f, size_t classes) {
  static const char *const text =
      ", \\\n  '' using 2:1:(sprintf(\"%d\\n%.0f %%\", int($3), 100 * $4)) with labels notitle\n";

  fprintf(f, "plot $cells using 2:1:4 with image notitle%s", classes <= MOST_TEXT ? text : "\n");
}

static size_t side(size_t classes, size_t cell, size_t least) {
  size_t n = classes <= MOST_TEXT ? 3 * cell + classes * cell : 3 * cell + MOST_TEXT * cell;
  return n > least ? n : least;
}

static void write_confusion(FILE *f, json_t *metrics, const char *title) {
  json_t *confusion = json_object_get(metrics, "confusion");
  size_t n = json_array_size(confusion);
  double last = (double)n - 0.5;

  fputs("# Run with: gnuplot confusion.gp\n", f);
  fprintf(f, "set title '%s: images and shares of each truth'\n", title);
  fputs("set xlabel 'decision'\nset ylabel 'truth'\nset cbrange [0:1]\n"
        "set palette defined (0 '#ffffff', 1 '#6aaed6')\nunset colorbox\n",
        f);
  fprintf(f, "set xrange [-0.5:%g]\nset yrange [%g:-0.5]\n", last, last);
  if (n > MOST_LEVEL) fputs("set xtics rotate by -40\n", f);
  write_tics(f, "x", json_object_get(metrics, "per_class"));
  write_tics(f, "y", json_object_get(metrics, "per_class"));
  write_matrix(f, confusion);
  fprintf(f, "set terminal svg size %zu,%zu background rgb 'white'\nset output 'confusion.svg'\n",
          side(n, 56, 640), side(n, 50, 560));
  plot_matrix(f, n);
  fprintf(f, "set terminal pngcairo size %zu,%zu\nset output 'confusion.png'\n", side(n, 72, 800),
          side(n, 64, 700));
  plot_matrix(f, n);
}

static pn_status draw(const char *folder, const char *script, const char *text, bool *drawn) {
  char path[4096];
  int rc;
  pn_status st = PN_OK;

  PN_TRY(pn_path_join(path, sizeof path, folder, script));
  PN_TRY(pn_file_write(path, text, strlen(text)));
  PN_TRY(pn_gnuplot_run(folder, script, &rc));
  *drawn = rc == 0;
  if (rc > 0) st = PN_FAIL(PN_ERR_IO, "gnuplot %s ended with code %d; try it by hand", path, rc);
done:
  return st;
}

/* The epoch whose weights the run ended with: the last, or the best where they were restored. */
static json_t *final_epoch(json_t *record) {
  json_t *epochs = json_object_get(record, "epochs"), *epoch;
  json_t *last = json_array_get(epochs, json_array_size(epochs) - 1);
  json_int_t best = -1;
  int restored = 0;
  size_t i;

  json_unpack(record, "{s:{s:I, s:b}}", "best", "epoch", &best, "restored", &restored);
  json_array_foreach(epochs, i, epoch) {
    if (restored && json_integer_value(json_object_get(epoch, "epoch")) == best) return epoch;
  }
  return last;
}

/* The test set's metrics, else those of the validation of the final weights; NULL: not evaluated.
 */
static json_t *evaluated(json_t *record, char title[TITLE_BYTES]) {
  json_t *epoch = final_epoch(record);
  json_t *test = json_object_get(record, "test"), *val = json_object_get(epoch, "val");

  if (json_is_object(test)) {
    snprintf(title, TITLE_BYTES, "test");
    return test;
  }
  snprintf(title, TITLE_BYTES, "validation, epoch %d",
           (int)json_integer_value(json_object_get(epoch, "epoch")));
  return json_is_object(val) ? val : NULL;
}

pn_status pn_run_plots_write(const char *folder, json_t *record, bool *drawn) {
  char title[TITLE_BYTES];
  json_t *metrics = evaluated(record, title);
  char *text[2] = {NULL, NULL};
  size_t bytes;
  FILE *f;
  pn_status st = PN_OK;

  *drawn = false;
  for (int i = 0; i < (metrics ? 2 : 1); i++) {
    if (!(f = open_memstream(&text[i], &bytes)))
      PN_TRY(PN_FAIL(PN_ERR_NOMEM, "plots of a run: out of memory"));
    if (i == 0)
      write_curves(f, record);
    else
      write_confusion(f, metrics, title);
    if (fclose(f) != 0) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "plots of a run: out of memory"));
    PN_TRY(draw(folder, i == 0 ? "curves.gp" : "confusion.gp", text[i], drawn));
  }
done:
  free(text[0]);
  free(text[1]);
  return st;
}
