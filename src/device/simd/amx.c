/* amx.c -- see amx.h. */
#include "device/simd/amx.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
  LEAF_FEATURES = 7, /* EDX: */
  AMX_BF16 = 1 << 22,
  AMX_TILE = 1 << 24,
  LEAF_TILES = 0x1d,           /* subleaf 0, EAX: palettes */
  REQUEST_PERMISSION = 0x1023, /* arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) */
  TILE_DATA = 18
};

static bool has_amx(void) {
  unsigned a = 0, b = 0, c = 0, d = 0, both = AMX_BF16 | AMX_TILE;
  return __get_cpuid_count(LEAF_FEATURES, 0, &a, &b, &c, &d) && (d & both) == both;
}

bool pn_amx_usable(void) {
  return has_amx() && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

bool pn_amx_hides_tiles(void) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_amx() && (!__get_cpuid_count(LEAF_TILES, 0, &a, &b, &c, &d) || a == 0);
}
#else
bool pn_amx_usable(void) {
  return false;
}

bool pn_amx_hides_tiles(void) {
  return false;
}
#endif
