/* digest.h -- CRC32C for data in shards, SHA-256 for identity. */
#ifndef PN_BASE_DIGEST_H
#define PN_BASE_DIGEST_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, reflected, as iSCSI RFC 3720): pn_crc32c(0, "123456789", 9) = 0xE3069283.
 * crc: result of the bytes before, 0 at the start. */
uint32_t pn_crc32c(uint32_t crc, const void *data, size_t bytes);

/* Of a whole file.  Errors: IO, NOMEM. */
pn_status pn_crc32c_file(const char *path, uint32_t *crc, int64_t *bytes);

/* Incremental SHA-256 (OpenSSL's libcrypto). */
typedef struct pn_sha256 pn_sha256;
pn_status pn_sha256_create(pn_sha256 **out);
void pn_sha256_update(pn_sha256 *s, const void *data, size_t bytes);
void pn_sha256_bytes(pn_sha256 *s, uint8_t raw[32]); /* finishes; then only destroy is legal */
void pn_sha256_hex(pn_sha256 *s, char hex[65]);      /* finishes; then only destroy is legal */
void pn_sha256_destroy(pn_sha256 *s);

const char *pn_digest_library(void); /* "OpenSSL 3.0.19 27 Jan 2026" */

#endif
