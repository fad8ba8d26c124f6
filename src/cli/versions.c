/* versions.c -- what this program was made of; each room names its own library. */
#include "base/digest.h"
#include "cli/cli.h"
#include "cli/yaml.h"
#include "comm/place.h"
#include "data/dicom.h"
#include "data/jpeg.h"
#include "data/shard.h"
#include "device/device.h"
#include "pn_version.h"

json_t *pn_versions_json(void) {
  char hwloc[32], yaml[32];

  pn_place_library(hwloc, sizeof hwloc);
  snprintf(yaml, sizeof yaml, "libyaml %s", pn_yaml_library());
  return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "pneuma",
                   PN_VERSION, "commit", PN_COMMIT, "compiler", PN_COMPILER, "mpi",
                   pn_comm_library(), "nccl", pn_nccl_library(), "onednn", pn_device_library(),
                   "hdf5", pn_shard_library(), "dcmtk", pn_dicom_library(), "jpeg",
                   pn_jpeg_library(), "hwloc", hwloc, "jansson", "jansson " JANSSON_VERSION, "yaml",
                   yaml, "crypto", pn_digest_library());
}
