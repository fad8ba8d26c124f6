/* metrics.c -- classification metrics of a set of scored images.  One thread, index order: the
 * result depends on the scores alone. */
#include "train/metrics.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  float score;
  uint8_t positive;
} scored;

static int by_score(const void *a, const void *b) {
  float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
  return (x > y) - (x < y);
}

/* Sum of the ranks (1 .. n) of the positives; equal scores share the mean of their ranks. */
static double rank_sum(const scored *s, int64_t n) {
  double sum = 0;

  for (int64_t i = 0; i < n;) {
    int64_t j = i, positives = 0;
    for (; j < n && s[j].score == s[i].score; j++) positives += s[j].positive;
    sum += (double)positives * 0.5 * (double)(i + 1 + j);
    i = j;
  }
  return sum;
}

double pn_auc(const float *score, const uint8_t *positive, int64_t n) {
  scored *s = malloc((size_t)(n > 0 ? n : 1) * sizeof *s);
  double area = NAN, p = 0;
  bool ordered = s != NULL;

  for (int64_t i = 0; i < n && ordered; i++) {
    s[i] = (scored){score[i], positive[i] != 0};
    p += s[i].positive;
    if (isnan(score[i])) ordered = false;
  }
  if (ordered && p > 0 && p < (double)n) {
    double q = (double)n - p;
    qsort(s, (size_t)n, sizeof *s, by_score);
    area = (rank_sum(s, n) - p * (p + 1) / 2) / (p * q);
  }
  free(s);
  return area;
}

/* Decision: p > 0.5 with one probability, else the first of the largest. */
static int decide(const float *p, int k) {
  int best = 0;
  if (k == 1) return p[0] > 0.5f;
  for (int c = 1; c < k; c++)
    if (p[c] > p[best]) best = c;
  return best;
}

static double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

static void class_counts(pn_metrics *m, int c) {
  int k = m->n_classes;
  int64_t truth = 0, said = 0, right = m->confusion[c * k + c];
  struct pn_class_metrics *out = &m->per_class[c];

  for (int j = 0; j < k; j++) {
    truth += m->confusion[c * k + j];
    said += m->confusion[j * k + c];
  }
  out->support = truth;
  out->precision = ratio((double)right, (double)said);
  out->recall = ratio((double)right, (double)truth);
  out->f1 = ratio(2 * out->precision * out->recall, out->precision + out->recall);
}

/* Area of class c against the rest; with one probability class 0 is scored by -p: no rounding. */
static pn_status class_auc(const float *probs, const int32_t *labels, int k, pn_metrics *m, int c) {
  float *score = malloc((size_t)(m->n + 1) * sizeof *score);
  uint8_t *positive = malloc((size_t)(m->n + 1));
  pn_status st = PN_OK;

  if (!score || !positive) {
    st = PN_FAIL(PN_ERR_NOMEM, "metrics of %lld images: out of memory", (long long)m->n);
    goto done;
  }
  for (int64_t i = 0; i < m->n; i++) {
    score[i] = k > 1 ? probs[i * k + c] : c == 1 ? probs[i] : -probs[i];
    positive[i] = labels[i] == c;
  }
  m->per_class[c].auc = pn_auc(score, positive, m->n);
done:
  free(score);
  free(positive);
  return st;
}

/* Does any image have the class, or was any answered with it? */
static bool occurs(const pn_metrics *m, int c) {
  int64_t said = 0;

  for (int j = 0; j < m->n_classes; j++) said += m->confusion[j * m->n_classes + c];
  return said > 0 || m->per_class[c].support > 0;
}

/* Two classes: those of class 1.  More: plain means over the classes that occur, as scikit-learn's
 * (AUC: where it is defined). */
static void summarize(pn_metrics *m) {
  int from = m->n_classes == 2 ? 1 : 0, defined = 0;
  double n = 0, auc = 0;

  for (int c = from; c < m->n_classes; c++) {
    const struct pn_class_metrics *p = &m->per_class[c];
    if (!isnan(p->auc)) {
      auc += p->auc;
      defined++;
    }
    if (!occurs(m, c)) continue;
    m->precision += p->precision;
    m->recall += p->recall;
    m->f1 += p->f1;
    n++;
  }
  m->precision = ratio(m->precision, n);
  m->recall = ratio(m->recall, n);
  m->f1 = ratio(m->f1, n);
  m->auc = defined > 0 ? auc / defined : NAN;
}

static pn_status count_decisions(const float *probs, const int32_t *labels, int k, pn_metrics *m) {
  int64_t right = 0;

  for (int64_t i = 0; i < m->n; i++) {
    int said = decide(probs + i * k, k);
    if (labels[i] < 0 || labels[i] >= m->n_classes)
      return PN_FAIL(PN_ERR_ARG, "image %lld has label %d, the model knows 0 to %d", (long long)i,
                     (int)labels[i], m->n_classes - 1);
    m->confusion[labels[i] * m->n_classes + said]++;
    right += said == labels[i];
  }
  m->accuracy = m->n > 0 ? (double)right / (double)m->n : NAN;
  return PN_OK;
}

static pn_status alloc_tables(int k, int64_t n, pn_metrics *m) {
  size_t classes = k == 1 ? 2 : (size_t)k;

  if (k < 1 || k > PN_MAX_CLASSES || n < 0)
    return PN_FAIL(PN_ERR_ARG, "metrics of %lld images with %d outputs: expected 1 to %d outputs",
                   (long long)n, k, PN_MAX_CLASSES);
  *m = (pn_metrics){.n = n, .n_classes = (int)classes};
  m->confusion = calloc(classes * classes, sizeof *m->confusion);
  m->per_class = calloc(classes, sizeof *m->per_class);
  if (!m->confusion || !m->per_class)
    return PN_FAIL(PN_ERR_NOMEM, "metrics of %zu classes: out of memory", classes);
  return PN_OK;
}

pn_status pn_metrics_compute(const float *probs, const float *losses, const int32_t *labels,
                             int64_t n, int k, pn_metrics *out) {
  pn_metrics m = {0};
  double sum = 0;
  pn_status st = PN_OK;

  *out = (pn_metrics){0};
  PN_TRY(alloc_tables(k, n, &m));
  PN_TRY(count_decisions(probs, labels, k, &m));
  for (int c = 0; c < m.n_classes; c++) {
    class_counts(&m, c);
    PN_TRY(class_auc(probs, labels, k, &m, c));
  }
  for (int64_t i = 0; i < n; i++) sum += (double)losses[i];
  m.loss = n > 0 ? sum / (double)n : NAN;
  summarize(&m);
  *out = m;
  m = (pn_metrics){0};
done:
  pn_metrics_free(&m);
  return st;
}

void pn_metrics_free(pn_metrics *m) {
  if (!m) return;
  free(m->confusion);
  free(m->per_class);
  *m = (pn_metrics){0};
}
