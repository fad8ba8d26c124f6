/* ingest_test.h -- what the tests of a whole ingest share: a folder of their own, the same on all
 * ranks, and its removal. */
#ifndef PN_TESTS_INGEST_TEST_H
#define PN_TESTS_INGEST_TEST_H

#include "base/file.h"
#include "data/dicom.h"
#include "data/ingest.h"
#include "mpi/mpi_test.h"
#include "unit/dicom_bytes.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[128], in[160], out[160], alone[160];

/* Collective.  In the working folder: its file system is the build's. */
static inline bool ingest_folders(const char *name) {
  snprintf(root, sizeof root, "%s.%d.%ld", name, size, (long)(rank == 0 ? getpid() : 0));
  if (pn_bcast(world, "folder", root, sizeof root, PN_U8, 0) != PN_OK) return false;
  snprintf(in, sizeof in, "%s/in", root);
  snprintf(out, sizeof out, "%s/out", root);
  snprintf(alone, sizeof alone, "%s/alone", root);
  return true;
}

static inline int ingest_remove(void **state) {
  char command[200];
  (void)state;
  if (pn_barrier(world, "end") != PN_OK) return 1;
  snprintf(command, sizeof command, "rm -rf '%s'", root);
  return rank == 0 ? system(command) : 0;
}

enum { INGEST_SIDE = 16 };

/* A DICOM file that only this seed gives.  id NULL: without PatientID. */
static inline const dicom_bytes *ingest_dicom(const char *id, const char *uid, int seed) {
  static dicom_bytes b;
  uint8_t pixels[INGEST_SIDE * INGEST_SIDE];
  dicom_case c = dicom_default(pixels, sizeof pixels, INGEST_SIDE, INGEST_SIDE);

  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)((int)i * 3 + seed * 17);
  c.id = id;
  c.uid = uid;
  dicom_build(&b, &c);
  return &b;
}

typedef struct {
  char id[32], file[48], uid[32];
} ingest_name;

static inline ingest_name ingest_good(int i) {
  ingest_name n;
  snprintf(n.id, sizeof n.id, "good-%02d", i);
  snprintf(n.file, sizeof n.file, "%s.dcm", n.id);
  snprintf(n.uid, sizeof n.uid, "1.2.3.%d", i + 1);
  return n;
}

/* True: nothing to test here, and said so. */
static inline bool ingest_skips(void) {
  if (strcmp(pn_dicom_library(), "none") != 0) return false;
  printf("skipped: this build has no DCMTK\n");
  return true;
}

#endif
