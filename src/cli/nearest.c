/* nearest.c -- Damerau's edit distance (neighbours may be swapped once). */
#include "cli/nearest.h"

#include <string.h>

enum { MAX_LETTERS = 63 };

static int min3(int a, int b, int c) {
  int ab = a < b ? a : b;
  return ab < c ? ab : c;
}

int pn_edit_distance(const char *a, const char *b) {
  int row[3][MAX_LETTERS + 1], n = (int)strlen(a), m = (int)strlen(b);

  if (n > MAX_LETTERS || m > MAX_LETTERS) return MAX_LETTERS + 1;
  for (int j = 0; j <= m; j++) row[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
    now[0] = i;
    for (int j = 1; j <= m; j++) {
      now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < now[j])
        now[j] = up2[j - 2] + 1;
    }
  }
  return row[n % 3][m];
}

void pn_nearest_offer(pn_nearest *n, const char *candidate) {
  int letters = (int)strlen(n->word), limit = letters / 3 < 2 ? 2 : letters / 3;
  int d = pn_edit_distance(n->word, candidate);

  if (d > limit || d >= letters || (n->best && d >= n->distance)) return;
  n->best = candidate;
  n->distance = d;
}
