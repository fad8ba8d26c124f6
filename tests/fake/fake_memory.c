/* fake_memory.c -- memory of the fake CUDA runtime: one range of addresses for the device, pinned
 * host memory. */
#include "fake_cudart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_BLOCKS = 4096, ALIGN = 256, RED = 256, GARBAGE = 0xff, ZONE = 0xa5 };

typedef struct {
  char *at;
  size_t bytes;
} block;

static struct {
  char *base;
  size_t bytes;
  block used[MAX_BLOCKS]; /* by address */
  int n, open;
  block pinned[MAX_BLOCKS];
  int n_pinned;
} m;

static size_t limit(void) {
  const char *text = getenv("FAKE_CUDA_BYTES");
  return text ? (size_t)strtoull(text, NULL, 10) : (size_t)8 << 30;
}

static void reserve(void) {
  if (m.base) return;
  m.bytes = limit();
  m.base = mmap(NULL, m.bytes + RED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (m.base == MAP_FAILED) fake_cuda_die("no address range of %zu bytes", m.bytes);
}

static void protect(int how) {
  if (m.base && mprotect(m.base, m.bytes + RED, how) != 0) fake_cuda_die("mprotect");
}

void fake_memory_open(void) {
  if (m.open++ == 0) protect(PROT_READ | PROT_WRITE);
}

void fake_memory_close(void) {
  if (--m.open == 0) protect(PROT_NONE);
}

bool fake_memory_on_device(const void *p) {
  const char *at = p;
  return m.base && at >= m.base && at < m.base + m.bytes;
}

static size_t rounded(size_t bytes) {
  return (bytes + RED + ALIGN - 1) / ALIGN * ALIGN;
}

static int find(const void *p) {
  const char *at = p;
  for (int i = 0; i < m.n; i++)
    if (at >= m.used[i].at && at < m.used[i].at + m.used[i].bytes) return i;
  return -1;
}

void fake_memory_check(const void *p, size_t bytes, const char *what) {
  const char *at = p;
  int i = find(p);
  if (i < 0 || at + bytes > m.used[i].at + m.used[i].bytes)
    fake_cuda_die("%s: [%p, + %zu) is no allocation of the device", what, p, bytes);
}

static void check_zone(const block *b) {
  for (size_t k = 0; k < RED; k++)
    if ((unsigned char)b->at[b->bytes + k] != ZONE)
      fake_cuda_die("something wrote %zu bytes behind an allocation of %zu bytes", k, b->bytes);
}

/* Place i of the list, in the first hole that is large enough; -1: there is none. */
static int hole(size_t bytes, char **at) {
  *at = m.base;
  for (int i = 0; i <= m.n; i++) {
    char *end = i < m.n ? m.used[i].at : m.base + m.bytes;
    if ((size_t)(end - *at) >= rounded(bytes)) return i;
    if (i < m.n) *at = m.used[i].at + rounded(m.used[i].bytes);
  }
  return -1;
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
  char *at;
  int i;

  if (fake_cuda_capturing()) return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  reserve();
  if (bytes > m.bytes || m.n == MAX_BLOCKS || (i = hole(bytes, &at)) < 0)
    return fake_cuda_answer(cudaErrorMemoryAllocation);
  memmove(&m.used[i + 1], &m.used[i], (size_t)(m.n++ - i) * sizeof *m.used);
  m.used[i] = (block){at, bytes};
  fake_memory_open();
  memset(at, GARBAGE, bytes);
  memset(at + bytes, ZONE, RED);
  fake_memory_close();
  *out = at;
  return cudaSuccess;
}

/* Waits for all work, as the true one. */
cudaError_t cudaFree(void *p) {
  int i;

  if (fake_cuda_capturing()) return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  if (!p) return cudaSuccess;
  fake_cuda_finish_all();
  if ((i = find(p)) < 0 || m.used[i].at != p) fake_cuda_die("cudaFree of what is not allocated");
  fake_memory_open();
  check_zone(&m.used[i]);
  fake_memory_close();
  memmove(&m.used[i], &m.used[i + 1], (size_t)(--m.n - i) * sizeof *m.used);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all) {
  reserve();
  *all = *left = m.bytes;
  for (int i = 0; i < m.n; i++) *left -= rounded(m.used[i].bytes);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
  void *p = NULL;

  if (fake_cuda_capturing()) return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  if (m.n_pinned == MAX_BLOCKS || posix_memalign(&p, ALIGN, bytes ? bytes : 1) != 0)
    return fake_cuda_answer(cudaErrorMemoryAllocation);
  memset(p, GARBAGE, bytes);
  m.pinned[m.n_pinned++] = (block){p, bytes};
  *out = p;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void *p) {
  if (fake_cuda_capturing()) return fake_cuda_answer(cudaErrorStreamCaptureUnsupported);
  fake_cuda_finish_all();
  for (int i = 0; i < m.n_pinned; i++) {
    if (m.pinned[i].at != p) continue;
    m.pinned[i] = m.pinned[--m.n_pinned];
    free(p);
    return cudaSuccess;
  }
  fake_cuda_die("cudaFreeHost of what is not pinned");
}

bool fake_memory_is_pinned(const void *p, size_t bytes) {
  const char *at = p;
  for (int i = 0; i < m.n_pinned; i++)
    if (at >= m.pinned[i].at && at + bytes <= m.pinned[i].at + m.pinned[i].bytes) return true;
  return false;
}
