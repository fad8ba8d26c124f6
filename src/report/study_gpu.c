/* study_gpu.c -- see study_gpu.h. */
#include "report/study_gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MEAN, LARGEST, SUM };
static const struct {
  const char *key;
  int how;
  const char *format; /* with its unit */
  double scale;
} figures[] = {{"utilization_percent", MEAN, "%.0f %% busy", 1},
               {"memory_bytes", LARGEST, "%.1f GiB", 1.0 / (1 << 30)},
               {"power_w", MEAN, "%.0f W", 1},
               {"clock_mhz", MEAN, "%.0f MHz", 1},
               {"energy_j", SUM, "%.4g J", 1}};
enum { FIGURES = sizeof figures / sizeof *figures };
static const char per_images[] = "energy_per_1000_images_j";

/* NAN where an epoch has no such figure. */
static double over_epochs(const json_t *epochs, int figure) {
  double sum = 0, seconds = 0, largest = 0;
  size_t i;
  json_t *e;

  json_array_foreach(epochs, i, e) {
    const json_t *x = json_object_get(json_object_get(e, "gpu"), figures[figure].key);
    double s = json_number_value(json_object_get(e, "seconds")), value = json_number_value(x);
    if (!x) return NAN;
    sum += figures[figure].how == MEAN ? value * s : value;
    seconds += s;
    largest = fmax(largest, value);
  }
  return figures[figure].how == MEAN ? sum / seconds : figures[figure].how == SUM ? sum : largest;
}

static double images_of(const json_t *epochs) {
  double images = 0;
  size_t i;
  json_t *e;

  json_array_foreach(epochs, i, e) images += json_number_value(json_object_get(e, "images_per_s")) *
                                             json_number_value(json_object_get(e, "seconds"));
  return images;
}

json_t *pn_study_gpu_json(const pn_study_row *r) {
  const json_t *epochs = json_object_get(r->record, "epochs"), *energy;
  json_t *o;

  if (!json_object_get(json_array_get(epochs, 0), "gpu") || !(o = json_object())) return NULL;
  for (int i = 0; i < FIGURES; i++) {
    double x = over_epochs(epochs, i);
    if (isfinite(x)) json_object_set_new(o, figures[i].key, json_real(x));
  }
  energy = json_object_get(o, "energy_j");
  if (energy && images_of(epochs) > 0)
    json_object_set_new(o, per_images,
                        json_real(1e3 * json_number_value(energy) / images_of(epochs)));
  return o;
}

void pn_study_gpu_text(const pn_study_row *r, char *out, size_t out_bytes) {
  json_t *o = pn_study_gpu_json(r), *x;
  size_t used = 0;

  out[0] = '\0';
  for (int i = 0; o && i < FIGURES; i++) {
    if (!(x = json_object_get(o, figures[i].key)) || used + 64 > out_bytes) continue;
    if (used > 0) used += (size_t)snprintf(out + used, out_bytes - used, ", ");
    used += (size_t)snprintf(out + used, out_bytes - used, figures[i].format,
                             figures[i].scale * json_number_value(x));
  }
  if (o && (x = json_object_get(o, per_images)) && used + 64 < out_bytes)
    snprintf(out + used, out_bytes - used, ", %.4g J per 1000 images", json_number_value(x));
  json_decref(o);
}
