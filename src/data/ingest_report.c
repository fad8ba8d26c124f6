/* ingest_report.c -- report.md: one page about what was ingested.  Numbers and reason codes only:
 * no path, name or id of the source. */
#include "data/ingest_stats.h"

#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *outcome_name(int32_t outcome) {
  static const char *const names[] = {"rejected", "duplicate", "skipped", "label row", "leak"};
  return outcome >= 0 && outcome < 5 ? names[outcome] : "?";
}

static void put_count(FILE *f, const char *what, int64_t n, const char *note) {
  fprintf(f, "| %s | %lld | %s |\n", what, (long long)n, note);
}

static void put_account(FILE *f, const pn_ingest *x, const pn_ingest_stats *s) {
  fputs("## Account of the images\n\n| | images | |\n| --- | ---: | --- |\n", f);
  put_count(f, "listed", x->source.n, "= written + rejected + duplicates + skipped");
  put_count(f, "written", s->written, "");
  put_count(f, "rejected", x->rejected, "rejects.csv says why");
  put_count(f, "duplicates", x->duplicates, "the first of its kind was kept");
  put_count(f, "skipped", x->skipped, "");
  fputs("\n| | | |\n| --- | ---: | --- |\n", f);
  put_count(f, "labels without a file", x->labels_without_file, "");
  put_count(f, "label rows left out", x->bad_label_rows, "the image keeps its other boxes");
  put_count(f, "boxes stored", s->boxes, "");
  put_count(f, "boxes clipped by the crop", s->boxes_clipped, "");
  fputc('\n', f);
}

/* One row per value, one column per class.  count(class, row) */
struct table {
  const char *title;
  int rows;
  const int64_t *count; /* [class][rows] */
  char (*name)[16];     /* [rows] */
};

static void put_table(FILE *f, const pn_ingest_stats *s, const struct table *t) {
  fprintf(f, "| %s |", t->title);
  for (int c = 0; c < s->n_classes; c++) fprintf(f, " %s |", s->class_name[c]);
  fputs(" all |\n| --- |", f);
  for (int c = 0; c <= s->n_classes; c++) fputs(" ---: |", f);
  fputc('\n', f);
  for (int r = 0; r < t->rows; r++) {
    int64_t all = 0;
    for (int c = 0; c < s->n_classes; c++) all += t->count[c * t->rows + r];
    if (all == 0) continue;
    fprintf(f, "| %s |", t->name[r]);
    for (int c = 0; c < s->n_classes; c++)
      fprintf(f, " %lld |", (long long)t->count[c * t->rows + r]);
    fprintf(f, " %lld |\n", (long long)all);
  }
  fputc('\n', f);
}

/* The last row counts what is missing: is there anything else? */
static bool is_known(const pn_ingest_stats *s, const struct table *t) {
  for (int c = 0; c < s->n_classes; c++)
    for (int r = 0; r < t->rows - 1; r++)
      if (t->count[c * t->rows + r] > 0) return true;
  return false;
}

static void put_images(FILE *f, const pn_ingest_stats *s) {
  char split[PN_SPLIT_COUNT][16], sex[PN_STATS_SEXES][16], age[PN_STATS_AGES][16];
  char view[PN_STATS_VIEWS][16];
  const struct table tables[] = {{"split", PN_SPLIT_COUNT, s->by_split[0], split},
                                 {"view", PN_STATS_VIEWS, s->by_view[0], view},
                                 {"sex", PN_STATS_SEXES, s->by_sex[0], sex},
                                 {"age, years", PN_STATS_AGES, s->by_age[0], age}};

  for (int i = 0; i < PN_SPLIT_COUNT; i++) snprintf(split[i], 16, "%s", pn_split_name((pn_split)i));
  for (int i = 0; i < PN_STATS_SEXES; i++) snprintf(sex[i], 16, "%s", pn_stats_sex(i));
  for (int i = 0; i < PN_STATS_AGES; i++) pn_stats_age(i, age[i]);
  for (int i = 0; i < PN_STATS_VIEWS; i++) snprintf(view[i], 16, "%s", s->view[i]);
  fputs("## Images written\n\n", f);
  put_table(f, s, &tables[0]);
  for (size_t i = 1; i < sizeof tables / sizeof *tables; i++)
    if (is_known(s, &tables[i]))
      put_table(f, s, &tables[i]);
    else
      fprintf(f, "No image says its %.*s.\n\n", (int)strcspn(tables[i].title, ","),
              tables[i].title);
  fprintf(f, "Source images: %d to %d pixels high, %d to %d wide.\n\n", s->least[0], s->most[0],
          s->least[1], s->most[1]);
}

static void put_reasons(FILE *f, const pn_ingest_stats *s) {
  enum { SHOWN = 10 };
  int shown = 0;

  fputs("## Why files were not written\n\n", f);
  if (s->n_reasons == 0) fputs("Every file was.\n\n", f);
  if (s->n_reasons == 0) return;
  fputs("| counted as | reason | number |\n| --- | --- | ---: |\n", f);
  for (int i = 0; i < s->n_reasons; i++) {
    shown = i > 0 && s->reason[i].outcome == s->reason[i - 1].outcome ? shown + 1 : 1;
    if (shown <= SHOWN)
      fprintf(f, "| %s | `%s` | %lld |\n", outcome_name(s->reason[i].outcome), s->reason[i].reason,
              (long long)s->reason[i].n);
  }
  fputc('\n', f);
}

static void put_leaks(FILE *f, const pn_ingest *x, const pn_ingest_stats *s) {
  fputs("## Duplicates and leaks\n\n", f);
  fprintf(f,
          "%lld duplicates were left out of every split. The images belong to %lld groups (as far "
          "as the\nlabels name patients); %lld of them have images in more than one split.\n\n",
          (long long)x->duplicates, (long long)s->patients, (long long)s->leaking);
}

static void put_warnings(FILE *f, const json_t *index) {
  const char *key;
  json_t *n;
  int shown = 0;

  fputs("## Warnings\n\n", f);
  json_object_foreach(json_object_get(index, "warnings"), key, n) {
    if (json_integer_value(n) == 0) continue;
    if (shown++ == 0) fputs("| warning | images |\n| --- | ---: |\n", f);
    fprintf(f, "| `%s` | %lld |\n", key, (long long)json_integer_value(n));
  }
  fputs(shown ? "\n" : "None.\n\n", f);
}

static void put_ties(FILE *f, const json_t *index) {
  json_t *list = json_object_get(index, "ties"), *tie;
  size_t i;

  if (json_array_size(list) == 0) return;
  fputs("## Classes that go with their source\n\n"
        "Told from all other images without looking at the pixels:\n\n"
        "| class | by | balanced accuracy |\n| --- | --- | ---: |\n",
        f);
  json_array_foreach(list, i, tie) {
    const char *class = json_string_value(json_object_get(tie, "class"));
    const char *by = json_string_value(json_object_get(tie, "by"));
    fprintf(f, "| %s | %s | %.3f |\n", class ? class : "?", by ? by : "?",
            json_real_value(json_object_get(tie, "balanced_accuracy")));
  }
  fputs("\nA network may learn where such images come from instead of what they show: its accuracy "
        "on "
        "them says little\nabout other hospitals.\n\n",
        f);
}

static void put_page(FILE *f, const pn_ingest *x, const json_t *index, const pn_ingest_stats *s) {
  const pn_shard_format *p = &x->format;
  const char *kind = json_string_value(json_object_get(index, "kind"));
  const char *digest = json_string_value(json_object_get(index, "digest"));

  fprintf(f,
          "# Ingest report\n\n%s: %lld images of %lld x %lld pixels, %lld channel%s, %d bits, %s\n",
          kind ? kind : "?", (long long)s->written, (long long)p->height, (long long)p->width,
          (long long)p->channels, p->channels == 1 ? "" : "s", p->bits, pn_fit_name(x->cfg->fit));
  fprintf(f, "\nDigest `%s`\n\n![Counts, histograms and samples](preview.png)\n\n",
          digest ? digest : "?");
  put_account(f, x, s);
  put_images(f, s);
  put_reasons(f, s);
  put_leaks(f, x, s);
  put_ties(f, index);
  put_warnings(f, index);
  fprintf(f, "Pixels: %s.\n", x->decoder);
}

static pn_status write_page(const pn_ingest *x, const json_t *index, const pn_ingest_stats *s) {
  char path[PATH_MAX], *text = NULL;
  size_t bytes = 0;
  FILE *f = open_memstream(&text, &bytes);
  bool failed;
  pn_status st = PN_OK;

  if (!f) return PN_FAIL(PN_ERR_NOMEM, "report.md: out of memory");
  put_page(f, x, index, s);
  failed = ferror(f) != 0;
  if (fclose(f) != 0 || failed) st = PN_FAIL(PN_ERR_NOMEM, "report.md: out of memory");
  if (st == PN_OK) st = pn_path_join(path, sizeof path, x->cfg->out, "report.md");
  if (st == PN_OK) st = pn_file_write(path, text, bytes);
  free(text);
  return st;
}

pn_status pn_ingest_write_report(const pn_ingest *x, const json_t *index) {
  pn_ingest_stats *s = malloc(sizeof *s);
  pn_status st;

  if (!s) return PN_FAIL(PN_ERR_NOMEM, "report: out of memory");
  PN_TRY(pn_ingest_stats_make(x, index, s));
  PN_TRY(write_page(x, index, s));
  PN_TRY(pn_ingest_write_preview(x, s));
done:
  free(s);
  return st;
}
