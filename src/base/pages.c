/* pages.c -- mmap, madvise and mincore. */
#include "base/pages.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older ones answer EINVAL */
#endif

size_t pn_page_bytes(void) {
  return (size_t)sysconf(_SC_PAGESIZE);
}

static uintptr_t up(uintptr_t x, size_t page) {
  return (x + page - 1) / page * page;
}

/* A little more, and both ends that are too much go back. */
pn_status pn_pages_reserve(size_t bytes, void **out) {
  size_t page = pn_page_bytes(), whole = up(bytes ? bytes : 1, page);
  char *p = mmap(NULL, whole + PN_LARGE_PAGE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  size_t before;

  *out = NULL;
  if (p == MAP_FAILED)
    return PN_FAIL(PN_ERR_NOMEM, "no address space for %zu bytes: %s", bytes, strerror(errno));
  before = up((uintptr_t)p, PN_LARGE_PAGE) - (uintptr_t)p;
  if (before > 0) munmap(p, before);
  if (before < PN_LARGE_PAGE) munmap(p + before + whole, PN_LARGE_PAGE - before);
  *out = p + before;
  return PN_OK;
}

void pn_pages_release(void *p, size_t bytes) {
  if (p) munmap(p, bytes ? bytes : 1);
}

pn_status pn_pages_take(void *p, size_t bytes) {
  size_t page = pn_page_bytes();
  uintptr_t lo = (uintptr_t)p / page * page, hi = up((uintptr_t)p + bytes, page);

  if (bytes == 0 || madvise((void *)lo, hi - lo, MADV_POPULATE_WRITE) == 0 || errno == EINVAL)
    return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "no memory for %zu bytes: %s", bytes, strerror(errno));
}

void pn_pages_prefer_large(void *p, size_t bytes) {
  uintptr_t lo = up((uintptr_t)p, PN_LARGE_PAGE);
  uintptr_t hi = ((uintptr_t)p + bytes) / PN_LARGE_PAGE * PN_LARGE_PAGE;

  if (hi > lo) madvise((void *)lo, hi - lo, MADV_HUGEPAGE);
}

void pn_pages_drop(void *p, size_t bytes, bool shared) {
  size_t page = pn_page_bytes();
  uintptr_t lo = up((uintptr_t)p, page), hi = ((uintptr_t)p + bytes) / page * page;

  if (hi <= lo || (shared && madvise((void *)lo, hi - lo, MADV_REMOVE) == 0)) return;
  madvise((void *)lo, hi - lo, MADV_DONTNEED); /* MPI shares no file where a host has one rank */
}

pn_status pn_pages_make_private(void *p, size_t bytes) {
  size_t whole = up(bytes, pn_page_bytes());

  if (bytes == 0 || mmap(p, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                         -1, 0) != MAP_FAILED)
    return PN_OK;
  return PN_FAIL(PN_ERR_NOMEM, "no memory for %zu bytes: %s", bytes, strerror(errno));
}

size_t pn_pages_resident(const void *p, size_t bytes) {
  size_t page = pn_page_bytes(), n = 0;
  uintptr_t lo = (uintptr_t)p / page * page, hi = up((uintptr_t)p + bytes, page);
  size_t pages = (hi - lo) / page;
  unsigned char *there = malloc(pages + 1);

  if (there && mincore((void *)lo, hi - lo, there) == 0)
    for (size_t i = 0; i < pages; i++) n += there[i] & 1;
  free(there);
  return n * page;
}
