/* report.c -- one line, or one JSON object, for a failure of one rank or of all. */
#include "cli/report.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 1024, HOST_BYTES = 64, PLACE_BYTES = 64 };

/* What the other ranks need to know; travels as bytes. */
typedef struct {
  int32_t status, rank;
  char host[HOST_BYTES], message[MESSAGE_BYTES];
} failure;

const char *pn_message_text(const char *message, char *place, size_t place_bytes) {
  const char *colon = strchr(message, ':'), *end = colon;

  if (place) place[0] = '\0';
  if (!colon || colon - message < 2 ||
      (strncmp(colon - 2, ".c", 2) != 0 && strncmp(colon - 2, "cc", 2) != 0))
    return message;
  for (end++; isdigit((unsigned char)*end); end++) {
  }
  if (strncmp(end, ": ", 2) != 0) return message;
  if (place) snprintf(place, place_bytes, "%.*s", (int)(end - message), message);
  return end + 2;
}

/* What this rank knows; told: pn_agree wrote "rank N (host): message" about another rank. */
static failure known_failure(pn_comm *c, pn_status st, bool *told) {
  failure f = {.status = (int32_t)st, .rank = c ? pn_comm_rank(c) : 0};
  const char *text = pn_message_text(pn_last_error(), NULL, 0);
  int rank, at = 0;

  *told = sscanf(text, "rank %d (%63[^)]): %n", &rank, f.host, &at) == 2 && at > 0;
  if (*told)
    f.rank = rank;
  else
    gethostname(f.host, sizeof f.host - 1);
  snprintf(f.message, sizeof f.message, "%s", *told ? text + at : pn_last_error());
  return f;
}

/* The failure of the lowest rank that failed itself, on all ranks. */
static pn_status share(pn_comm *c, bool told, failure *f) {
  int32_t who = told ? pn_comm_size(c) : pn_comm_rank(c);
  pn_status rc = pn_allreduce(c, "who failed", &who, 1, PN_I32, PN_MIN);

  if (rc != PN_OK) return rc;
  if (who == pn_comm_size(c)) who = 0;
  return pn_bcast(c, "error message", f, sizeof *f, PN_U8, who);
}

/* Causes a user can mend need no place in our sources. */
static bool is_internal(int32_t status) {
  return status == PN_ERR_DEVICE || status == PN_ERR_COMM || status == PN_ERR_NOMEM;
}

static void print_line(const failure *f, int size) {
  char place[PLACE_BYTES], from[HOST_BYTES + 32] = "";
  const char *text = pn_message_text(f->message, place, sizeof place);
  bool show_place = is_internal(f->status) && place[0];

  if (size > 1 && f->status != PN_ERR_ARG)
    snprintf(from, sizeof from, "rank %d on %s: ", f->rank, f->host);
  fprintf(stderr, "pneuma: %s%s%s%s%s\n", from, text, show_place ? " (" : "",
          show_place ? place : "", show_place ? ")" : "");
}

/* result: what the command found before it failed; its fields stand beside "error". */
static void print_json(const failure *f, json_t *result) {
  json_t *message = json_string(pn_message_text(f->message, NULL, 0));
  json_t *error;

  if (!message) message = json_string("(message is not UTF-8)");
  error =
      json_pack("{s:{s:s, s:o, s:i, s:s}}", "error", "code", pn_status_name((pn_status)f->status),
                "message", message, "rank", (int)f->rank, "host", f->host);
  if (error && result) json_object_update_missing(error, result);
  json_dumpf(error, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(15));
  fputc('\n', stdout);
  fflush(stdout);
  json_decref(error);
}

int pn_report_error(pn_comm *c, pn_status st, bool json, json_t *result) {
  int rank = c ? pn_comm_rank(c) : 0, size = c ? pn_comm_size(c) : 1;
  bool told, agreed = c && pn_error_agreed();
  failure f = known_failure(c, st, &told);

  if (agreed && share(c, told, &f) != PN_OK) {
    f = known_failure(c, st, &told);
    agreed = false;
  }
  if (agreed ? f.rank == rank : st != PN_ERR_PEER) print_line(&f, size);
  if (json && rank == 0) print_json(&f, result);
  return pn_status_exit_code((pn_status)f.status);
}
