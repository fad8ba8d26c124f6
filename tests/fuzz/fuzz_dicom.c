/* fuzz_dicom.c -- the DICOM front on any bytes: sniff, parse, check, decode, present. */
#include "data/dicom.h"

#include <stdio.h>
#include <stdlib.h>

static pn_dicom_reader *reader;
static pn_gray image;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  pn_dicom_rules rules = {.frames = PN_FRAMES_ALL};
  (void)argc, (void)argv;
  if (pn_dicom_reader_create(&reader) != PN_OK) {
    fprintf(stderr, "%s\n", pn_last_error());
    exit(1);
  }
  pn_dicom_reader_rules(reader, &rules);
  return 0;
}

/* An accepted image must be readable to its last pixel. */
static void touch(const pn_dicom_info *info) {
  size_t n = (size_t)image.height * (size_t)image.width * (size_t)image.bytes_per_pixel;
  volatile uint8_t sum = 0;
  if (image.height != info->rows || image.width != info->columns) abort();
  for (size_t i = 0; i < n; i++) sum = (uint8_t)(sum + ((uint8_t *)image.data)[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  pn_dicom_info info;
  pn_reject why;

  if (pn_dicom_read_memory(reader, data, bytes, &info, &image, &why) != PN_OK || why.reason[0])
    return 0;
  touch(&info);
  if (info.frames > 1 &&
      pn_dicom_read_frame(reader, info.frames - 1, &info, &image, &why) == PN_OK && !why.reason[0])
    touch(&info);
  return 0;
}
