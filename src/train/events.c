/* events.c -- TFRecord: length, CRC of it, data, CRC of that; data is an Event message. */
#include "train/events.h"

#include "base/digest.h"
#include "base/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_BYTES = 256, PATH_BYTES = 4096 };
/* Field numbers. */
enum { EVENT_TIME = 1, EVENT_STEP, EVENT_VERSION, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, SESSION_STATUS = 1, SESSION_START = 1 };
enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

struct pn_events {
  FILE *file;
  char path[PATH_BYTES];
};

typedef struct {
  size_t n;
  uint8_t byte[MESSAGE_BYTES];
} message;

/* Tags are short: nothing is ever cut. */
static void put_byte(message *m, uint64_t x) {
  if (m->n < sizeof m->byte) m->byte[m->n++] = (uint8_t)x;
}

static void put_bytes(message *m, const void *data, size_t n) {
  for (size_t i = 0; i < n; i++) put_byte(m, ((const uint8_t *)data)[i]);
}

static void put_little(message *m, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; i++) put_byte(m, x >> (8 * i));
}

static void put_varint(message *m, uint64_t x) {
  for (; x >= 128; x >>= 7) put_byte(m, (x & 127) | 128);
  put_byte(m, x);
}

static void put_key(message *m, int field, int wire) {
  put_varint(m, (uint64_t)(field << 3 | wire));
}

static void put_text(message *m, int field, const void *text, size_t n) {
  put_key(m, field, WIRE_BYTES);
  put_varint(m, n);
  put_bytes(m, text, n);
}

static double wall_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void start_event(message *m, int64_t step) {
  double now = wall_time();
  uint64_t bits;

  memcpy(&bits, &now, sizeof bits);
  put_key(m, EVENT_TIME, WIRE_64);
  put_little(m, bits, 8);
  put_key(m, EVENT_STEP, WIRE_VARINT);
  put_varint(m, (uint64_t)step);
}

static uint32_t masked(uint32_t crc) {
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

static void write_record(pn_events *e, const message *m) {
  message head = {.n = 0}, tail = {.n = 0};

  put_little(&head, m->n, 8);
  put_little(&head, masked(pn_crc32c(0, head.byte, 8)), 4);
  put_little(&tail, masked(pn_crc32c(0, m->byte, m->n)), 4);
  fwrite(head.byte, 1, head.n, e->file); /* errors: see flush */
  fwrite(m->byte, 1, m->n, e->file);
  fwrite(tail.byte, 1, tail.n, e->file);
}

static void write_start(pn_events *e, int64_t step) {
  static const char version[] = "brain.Event:2";
  message first = {.n = 0}, session = {.n = 0}, again = {.n = 0};

  start_event(&first, 0);
  put_text(&first, EVENT_VERSION, version, sizeof version - 1);
  write_record(e, &first);
  if (step == 0) return;
  put_key(&session, SESSION_STATUS, WIRE_VARINT);
  put_varint(&session, SESSION_START);
  start_event(&again, step + 1);
  put_text(&again, EVENT_SESSION, session.byte, session.n);
  write_record(e, &again);
}

pn_status pn_events_open(const char *folder, int64_t step, pn_events **out) {
  char host[64] = "host", name[160];
  pn_events *e = calloc(1, sizeof *e);
  pn_status st = PN_OK;

  *out = NULL;
  if (!e) return PN_FAIL(PN_ERR_NOMEM, "events of a run: out of memory");
  gethostname(host, sizeof host - 1);
  snprintf(name, sizeof name, "events.out.tfevents.%.6f.%s.%d", wall_time(), host, (int)getpid());
  PN_TRY(pn_path_join(e->path, sizeof e->path, folder, name));
  if (!(e->file = fopen(e->path, "wb")))
    PN_TRY(PN_FAIL(PN_ERR_IO, "cannot create %s: %s", e->path, strerror(errno)));
  write_start(e, step);
  PN_TRY(pn_events_flush(e));
  *out = e;
  e = NULL;
done:
  pn_events_close(e);
  return st;
}

void pn_events_scalar(pn_events *e, const char *tag, int64_t step, double value) {
  message one = {.n = 0}, summary = {.n = 0}, event = {.n = 0};
  float f = (float)value;
  uint32_t bits;

  if (!isfinite(value)) return;
  memcpy(&bits, &f, sizeof bits);
  put_text(&one, VALUE_TAG, tag, strlen(tag));
  put_key(&one, VALUE_SIMPLE, WIRE_32);
  put_little(&one, bits, 4);
  put_text(&summary, SUMMARY_VALUE, one.byte, one.n);
  start_event(&event, step);
  put_text(&event, EVENT_SUMMARY, summary.byte, summary.n);
  write_record(e, &event);
}

pn_status pn_events_flush(pn_events *e) {
  if (fflush(e->file) == 0 && !ferror(e->file)) return PN_OK;
  return PN_FAIL(PN_ERR_IO, "cannot write %s: %s", e->path, strerror(errno));
}

void pn_events_close(pn_events *e) {
  if (!e) return;
  if (e->file) fclose(e->file);
  free(e);
}
