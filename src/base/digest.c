/* digest.c -- CRC32C with the SSE4.2 instruction where the CPU has it; SHA-256 by libcrypto. */
#include "base/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

static uint32_t crc_bytes(uint32_t crc, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    for (int b = 0; b < 8; b++) crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
  }
  return crc;
}

#ifdef __x86_64__
/* The instruction takes 3 cycles and can start every cycle: long data go through it as three runs
 * of LANE bytes side by side.  To join them, a run is moved over the following bytes: times x^(8 *
 * bytes - 33) modulo the polynomial (33: what the product and the instruction add). */
enum { LANE = 1024 };
static const uint32_t over_lane = 0x170076fau, over_two_lanes = 0xa51b6135u;

__attribute__((target("sse4.2,pclmul"))) static uint64_t move_over(uint64_t crc, uint32_t factor) {
  __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc), _mm_cvtsi32_si128((int)factor), 0);
  return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_sse42(uint32_t crc, const uint8_t *p,
                                                                   size_t n) {
  uint64_t c = crc, word[3];

  for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
    uint64_t c1 = 0, c2 = 0;
    for (size_t i = 0; i < LANE; i += 8) {
      for (size_t k = 0; k < 3; k++) memcpy(&word[k], p + k * LANE + i, 8);
      c = _mm_crc32_u64(c, word[0]);
      c1 = _mm_crc32_u64(c1, word[1]);
      c2 = _mm_crc32_u64(c2, word[2]);
    }
    c = move_over(c, over_two_lanes) ^ move_over(c1, over_lane) ^ c2;
  }
  for (; n >= 8; n -= 8, p += 8) {
    memcpy(word, p, 8);
    c = _mm_crc32_u64(c, word[0]);
  }
  crc = (uint32_t)c;
  for (; n > 0; n--, p++) crc = _mm_crc32_u8(crc, *p);
  return crc;
}
static bool has_sse42(void) {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}
#else
static uint32_t crc_sse42(uint32_t crc, const uint8_t *p, size_t n) {
  return crc_bytes(crc, p, n);
}
static bool has_sse42(void) {
  return false;
}
#endif

uint32_t pn_crc32c(uint32_t crc, const void *data, size_t bytes) {
  return ~(has_sse42() ? crc_sse42(~crc, data, bytes) : crc_bytes(~crc, data, bytes));
}

pn_status pn_crc32c_file(const char *path, uint32_t *crc, int64_t *bytes) {
  enum { CHUNK = 1 << 18 };
  char *buf = malloc(CHUNK);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = -1;
  pn_status st = PN_OK;

  *crc = 0;
  *bytes = 0;
  while (buf && fd >= 0 && ((n = read(fd, buf, CHUNK)) > 0 || (n < 0 && errno == EINTR))) {
    if (n < 0) continue;
    *crc = pn_crc32c(*crc, buf, (size_t)n);
    *bytes += n;
  }
  if (!buf)
    st = PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
  else if (n < 0)
    st = PN_FAIL(PN_ERR_IO, "cannot read %s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
  free(buf);
  return st;
}

struct pn_sha256 {
  EVP_MD_CTX *ctx;
};

pn_status pn_sha256_create(pn_sha256 **out) {
  pn_sha256 *s = calloc(1, sizeof *s);

  *out = NULL;
  if (s) s->ctx = EVP_MD_CTX_new();
  if (!s || !s->ctx || EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL) != 1) {
    pn_sha256_destroy(s);
    return PN_FAIL(PN_ERR_NOMEM, "SHA-256: cannot start a digest");
  }
  *out = s;
  return PN_OK;
}

void pn_sha256_update(pn_sha256 *s, const void *data, size_t bytes) {
  EVP_DigestUpdate(s->ctx, data, bytes); /* fails only on a context that was never started */
}

void pn_sha256_bytes(pn_sha256 *s, uint8_t raw[32]) {
  EVP_DigestFinal_ex(s->ctx, raw, NULL);
}

void pn_sha256_hex(pn_sha256 *s, char hex[65]) {
  static const char digit[] = "0123456789abcdef";
  uint8_t raw[32];

  pn_sha256_bytes(s, raw);
  for (int i = 0; i < 32; i++) {
    hex[2 * i] = digit[raw[i] >> 4];
    hex[2 * i + 1] = digit[raw[i] & 15];
  }
  hex[64] = 0;
}

void pn_sha256_destroy(pn_sha256 *s) {
  if (!s) return;
  EVP_MD_CTX_free(s->ctx);
  free(s);
}

const char *pn_digest_library(void) {
  return OpenSSL_version(OPENSSL_VERSION);
}
