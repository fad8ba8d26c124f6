/* nearest.h -- the word a typo was meant to be. */
#ifndef PN_CLI_NEAREST_H
#define PN_CLI_NEAREST_H

/* Edit distance; swapped neighbours count as one. */
int pn_edit_distance(const char *a, const char *b);

/* The best candidate so far; start with {word, NULL, 0}. */
typedef struct {
  const char *word; /* borrowed */
  const char
      *best; /* borrowed; NULL: nothing is near enough (a third of the letters, at least 2) */
  int distance;
} pn_nearest;
void pn_nearest_offer(pn_nearest *n, const char *candidate);

#endif
