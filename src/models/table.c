/* table.c -- the networks by name. */
#include "models/builders.h"

#include <string.h>

#define OF_CUSTOM_CNN "filters1|filters2|kernel|padding"

static const pn_model models[] = {
    {"custom_cnn", "2 convolutions, 2 dense layers, ReLU, max-pooling", pn_build_custom_cnn, 128, 1,
     2, "width"},
    {"cifar_cnn", "4 convolutions, 2 dense layers, batch norm (Keras)", pn_build_cifar_cnn, 32, 3,
     10, OF_CUSTOM_CNN},
    {"resnet18", "8 residual blocks (torchvision)", pn_build_resnet18, 224, 3, 1000,
     OF_CUSTOM_CNN "|hidden"},
    {"resnet50v2", "16 pre-activation bottlenecks, dense head (Keras)", pn_build_resnet50v2, 224, 3,
     2, OF_CUSTOM_CNN},
};
enum { N_MODELS = sizeof models / sizeof *models };

const pn_model *pn_model_table(int *count) {
  *count = N_MODELS;
  return models;
}

void pn_model_defaults(pn_model_config *cfg) {
  *cfg = (pn_model_config){.size = {128, 128},
                           .channels = 1,
                           .classes = 2,
                           .filters = {32, 64},
                           .kernel = 3,
                           .dropout = -1.0f,
                           .input_mean = 0.5f,
                           .input_sd = 0.25f,
                           .padding = true};
}

/* Edit distance (Levenshtein) of two short names. */
static int distance(const char *a, const char *b) {
  enum { MAX = 64 };
  int row[MAX + 1], n = (int)strnlen(b, MAX);

  for (int j = 0; j <= n; j++) row[j] = j;
  for (int i = 1; *a; a++, i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      int change = diagonal + (*a != b[j - 1]);
      int least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
      diagonal = row[j];
      row[j] = change < least ? change : least;
    }
  }
  return row[n];
}

static const char *nearest(const char *name) {
  const char *best = models[0].name;
  for (int i = 1; i < N_MODELS; i++)
    if (distance(name, models[i].name) < distance(name, best)) best = models[i].name;
  return best;
}

const pn_model *pn_model_find(const char *name) {
  for (int i = 0; i < N_MODELS; i++)
    if (strcmp(name, models[i].name) == 0) return &models[i];
  return NULL;
}

pn_status pn_model_build(const char *name, const pn_model_config *cfg, pn_graph **out) {
  const pn_model *m = pn_model_find(name);
  pn_graph *g = NULL;
  pn_status st;

  *out = NULL;
  if (!m) return PN_FAIL(PN_ERR_ARG, "unknown model '%s'; did you mean '%s'?", name, nearest(name));
  PN_TRY(pn_graph_create(name, &g));
  PN_TRY(m->build(cfg, g));
  *out = g;
  g = NULL;
done:
  pn_graph_destroy(g);
  return st;
}
