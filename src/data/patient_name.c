/* patient_name.c -- file names of the public chest X-ray sets that say who the patient is. */
#include "data/kind.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t digits(const char *p) {
  return strspn(p, "0123456789");
}

/* NIH ChestX-ray14: 00012345_003.png */
static size_t nih(const char *name) {
  return digits(name) == 8 && name[8] == '_' && digits(name + 9) == 3 && name[12] == '.' ? 8 : 0;
}

/* Kermany, Kaggle: person12_bacteria_3.jpeg, person12_virus_3.jpeg */
static size_t kaggle(const char *name) {
  size_t n = strncasecmp(name, "person", 6) == 0 ? digits(name + 6) : 0;
  return n > 0 && name[6 + n] == '_' ? 6 + n : 0;
}

/* Kermany, Kaggle: IM-0115-0001.jpeg, NORMAL2-IM-0529-0001-0002.jpeg */
static size_t kaggle_normal(const char *name) {
  const char *im = strncasecmp(name, "NORMAL2-", 8) == 0 ? name + 8 : name;
  size_t n = strncasecmp(im, "IM-", 3) == 0 ? digits(im + 3) : 0;
  return n > 0 && im[3 + n] == '-' ? (size_t)(im - name) + 3 + n : 0;
}

/* Kermany, Mendeley: CLASS-123456-0001.jpeg; one number is one patient in every class. */
static size_t mendeley(const char *name, size_t *from) {
  size_t letters = 0, n;

  while (isalpha((unsigned char)name[letters])) letters++;
  if (letters < 3 || name[letters] != '-') return 0;
  n = digits(name + letters + 1);
  if (n < 4 || name[letters + 1 + n] != '-' || digits(name + letters + 2 + n) != 4) return 0;
  *from = letters + 1;
  return letters + 1 + n;
}

bool pn_patient_of_name(const char *path, char *out, size_t bytes) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  size_t from = 0, to = nih(name);
  const char *set = "nih";

  if (to == 0) {
    set = "kermany ";
    to = kaggle(name);
  }
  if (to == 0) to = kaggle_normal(name);
  if (to == 0) to = mendeley(name, &from);
  if (to == 0) return false;
  snprintf(out, bytes, "%s%.*s", set, (int)(to - from), name + from);
  return true;
}
