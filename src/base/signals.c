/* signals.c -- see signals.h. */
#include "base/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

static const struct {
  int number;
  const char *name;
} watched[] = {{SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}};

static volatile sig_atomic_t caught;

static void note(int number) {
  if (!caught) caught = number;
}

void pn_signals_watch(void) {
  struct sigaction how;

  memset(&how, 0, sizeof how);
  how.sa_handler = note;
  how.sa_flags = SA_RESTART; /* reads and writes under way are not cut off */
  sigemptyset(&how.sa_mask);
  for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
    sigaction(watched[i].number, &how, NULL);
}

int pn_signals_caught(void) {
  return caught;
}

const char *pn_signal_name(int number) {
  for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
    if (watched[i].number == number) return watched[i].name;
  return "a signal";
}
