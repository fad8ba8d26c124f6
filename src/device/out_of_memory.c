/* out_of_memory.c -- see out_of_memory.h. */
#include "device/out_of_memory.h"

#include <stdio.h>
#include <string.h>

enum { TOLD = 3 };

void pn_ledger_add(pn_ledger *l, const char *what, const char *option, int64_t bytes) {
  int i = 0;

  while (i < l->n && strcmp(l->row[i].what, what) != 0) i++;
  if (i == PN_LEDGER_ROWS) {
    i = PN_LEDGER_ROWS - 1;
    l->row[i].what = "other";
    l->row[i].option = NULL;
  } else if (i == l->n) {
    l->row[l->n++] = (struct pn_ledger_row){.what = what, .option = option};
  }
  l->row[i].bytes += bytes;
}

/* "1.50 GiB", "3.2 MiB" */
static const char *amount(int64_t bytes, char out[32]) {
  double mib = (double)bytes / (1 << 20);

  if (bytes < 0)
    snprintf(out, 32, "unknown");
  else if (mib >= 1024)
    snprintf(out, 32, "%.2f GiB", mib / 1024);
  else
    snprintf(out, 32, "%.1f MiB", mib);
  return out;
}

/* The largest row that was not taken; -1: none. */
static int largest(const pn_ledger *l, const bool taken[PN_LEDGER_ROWS]) {
  int best = -1;

  for (int i = 0; i < l->n; i++)
    if (!taken[i] && l->row[i].bytes > 0 && (best < 0 || l->row[i].bytes > l->row[best].bytes))
      best = i;
  return best;
}

/* "; largest: activations 3.00 GiB, parameters 1.00 GiB" */
static void list_largest(const pn_ledger *l, char *out, size_t out_bytes) {
  bool taken[PN_LEDGER_ROWS] = {false};
  char size[32];
  size_t used = 0;

  out[0] = '\0';
  for (int k = 0; k < TOLD; k++) {
    int i = largest(l, taken);
    if (i < 0 || used >= out_bytes) return;
    taken[i] = true;
    used +=
        (size_t)snprintf(out + used, out_bytes - used, "%s%s %s",
                         k ? ", " : "; largest: ", l->row[i].what, amount(l->row[i].bytes, size));
  }
}

static const char *option_of(const pn_ledger *l, const char *what) {
  const char *option = NULL;
  int64_t most = 0;

  for (int i = 0; i < l->n; i++) {
    const struct pn_ledger_row *r = &l->row[i];
    if (!r->option) continue;
    if (strcmp(r->what, what) == 0) return r->option;
    if (r->bytes > most) most = r->bytes, option = r->option;
  }
  return option;
}

pn_status pn_out_of_memory(const pn_ledger *l, const char *device, const char *what, int64_t asked,
                           int64_t available) {
  const char *option = option_of(l, what);
  char list[240], a[32], b[32];

  list_largest(l, list, sizeof list);
  return PN_FAIL(PN_ERR_NOMEM, "%s: no memory for %s: %s asked, %s free%s%s%s", device, what,
                 amount(asked, a), amount(available, b), list, option ? "; lower " : "",
                 option ? option : "");
}
