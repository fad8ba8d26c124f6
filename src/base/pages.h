/* pages.h -- memory that is reserved first and gets its pages later, or gives them back. */
#ifndef PN_BASE_PAGES_H
#define PN_BASE_PAGES_H

#include "base/status.h"

#include <stddef.h>

size_t pn_page_bytes(void);
enum { PN_LARGE_PAGE = 2 << 20 };

/* Address space without pages, from a multiple of PN_LARGE_PAGE on, private to this process; they
 * appear, zeroed, when touched. *out: owned, pn_pages_release.  Errors: NOMEM. */
pn_status pn_pages_reserve(size_t bytes, void **out);
void pn_pages_release(void *p, size_t bytes);

/* Give [p, p + bytes) its pages now, so that a shortage is an error here and not a signal later.
 * Errors: NOMEM. */
pn_status pn_pages_take(void *p, size_t bytes);

/* Where the system has larger pages (2 MiB on x86), take those that lie wholly in [p, p + bytes):
 * they come hundreds of times faster.  Private memory; a wish. */
void pn_pages_prefer_large(void *p, size_t bytes);

/* Give back the pages that lie wholly in [p, p + bytes): they read as zero afterwards.  shared:
 * memory of several processes (tmpfs), which all lose it. */
void pn_pages_drop(void *p, size_t bytes, bool shared);

/* From the start of a page on, [p, p + bytes) becomes memory of this process alone, zeroed,
 * whatever was mapped there.  Errors: NOMEM. */
pn_status pn_pages_make_private(void *p, size_t bytes);

/* Bytes of [p, p + bytes) that have pages; 0 where the system does not tell. */
size_t pn_pages_resident(const void *p, size_t bytes);

#endif
