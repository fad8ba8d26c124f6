/* study_write.c -- the files of a study: study.json, study.csv, study.md, plots. */
#include "report/study.h"

#include "base/file.h"
#include "base/log.h"
#include "report/plots.h"

#include <stdlib.h>
#include <string.h>

typedef pn_status (*render_fn)(const pn_study *s, char **out);

static pn_status json_text(const pn_study *s, char **out) {
  json_t *o = pn_study_json(s);

  *out = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
  json_decref(o);
  return *out ? PN_OK : PN_FAIL(PN_ERR_NOMEM, "study.json: out of memory");
}

static pn_status write_one(const pn_study *s, const char *dir, const char *name, render_fn render) {
  char path[1024];
  char *text = NULL;
  pn_status st;

  PN_TRY(pn_path_join(path, sizeof path, dir, name));
  PN_TRY(render(s, &text));
  PN_TRY(pn_file_write(path, text, strlen(text)));
done:
  free(text);
  return st;
}

pn_status pn_study_write(pn_study *s, const char *dir, bool plots) {
  pn_status st;

  s->plotted = false;
  PN_TRY(write_one(s, dir, "study.json", json_text));
  PN_TRY(write_one(s, dir, "study.csv", pn_study_csv));
  if (plots) PN_TRY(pn_plots_write(s, dir, &s->plotted));
  if (plots && !s->plotted && s->base >= 0)
    pn_warn("no gnuplot here: %s/speedup.gp and efficiency.gp are written, not drawn "
            "(apt install gnuplot-nox)",
            dir);
  PN_TRY(write_one(s, dir, "study.md", pn_study_markdown));
done:
  return st;
}
