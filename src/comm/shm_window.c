/* shm_window.c -- memory that the ranks of a host share: MPI_Win_allocate_shared.
 *
 * MPI_Win_free is collective, cleanup is not: a window lives as long as the process, but its pages
 * go back to the system when its owner frees it, or the last one who has a part in it. */
#include "base/pages.h"
#include "comm/shm_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t whole_pages(size_t bytes) {
  size_t page = pn_page_bytes();
  return (bytes + page - 1) / page * page;
}

static char *page_start(void *p) {
  return (char *)whole_pages((uintptr_t)p);
}

/* Each rank's part starts at a page, so that its pages can be given back. */
static pn_status allocate(const struct shm_comm *m, size_t bytes, MPI_Win *win) {
  MPI_Info info;
  void *own;
  pn_status st;

  MPI_Info_create(&info);
  MPI_Info_set(info, "alloc_shared_noncontig", "true");
  st = pn_mpi_check(MPI_Win_allocate_shared((MPI_Aint)bytes, 1, info, m->local, &own, win),
                    "MPI_Win_allocate_shared");
  MPI_Info_free(&info);
  return st;
}

/* The first page of each rank's part; common: of the first rank's for all. */
static pn_status query(const struct shm_comm *m, MPI_Win win, bool common, struct shm_window *w) {
  for (int r = 0; r < m->local_size; r++) {
    MPI_Aint bytes;
    int unit;
    void *base = NULL;
    pn_status st = pn_mpi_check(MPI_Win_shared_query(win, common ? 0 : r, &bytes, &unit, &base),
                                "MPI_Win_shared_query");
    if (st != PN_OK) return st;
    w->base[r] = page_start(base);
  }
  return PN_OK;
}

static pn_status no_room(size_t bytes) {
  return PN_FAIL(PN_ERR_NOMEM,
                 "no shared memory for %zu bytes: enlarge /dev/shm (docker run --shm-size=2g), or "
                 "set train.comm=mpi",
                 bytes);
}

/* A window of `bytes` from the start of a page on each rank, or on the first one for all.  The
 * caller puts it into the list. */
static pn_status make(struct shm_comm *m, size_t bytes, bool common, struct shm_window *w) {
  struct shm_window *more = realloc(m->window, (size_t)(m->n_windows + 1) * sizeof *more);
  MPI_Win win;
  pn_status st = PN_OK;

  *w = (struct shm_window){.bytes = bytes, .base = calloc((size_t)m->local_size, sizeof *w->base)};
  if (more) m->window = more;
  if (!w->base || !more) st = PN_FAIL(PN_ERR_NOMEM, "window of %zu bytes: out of memory", bytes);
  PN_TRY(pn_agree(m->mpi, st));
  PN_TRY(allocate(m, common && m->local_rank > 0 ? 0 : bytes + pn_page_bytes(), &win));
  PN_TRY(query(m, win, common, w));
done:
  return st;
}

pn_status pn_shm_window_add(struct shm_comm *m, size_t bytes, bool touch, int *index) {
  struct shm_window w;
  pn_status st = make(m, bytes, false, &w);

  *index = -1;
  PN_TRY(st);
  if (touch && pn_pages_take(w.base[m->local_rank], bytes) != PN_OK) {
    st = no_room(bytes);
    goto done;
  }
  if (touch) memset(w.base[m->local_rank], 0, bytes);
  *index = m->n_windows;
  m->window[m->n_windows++] = w;
  w.base = NULL;
done:
  free(w.base);
  return st;
}

pn_status pn_shm_alloc(pn_comm *c, size_t bytes, bool touch, void **out) {
  struct shm_comm *m = c->impl;
  int index;
  pn_status st = pn_agree(c, pn_shm_window_add(m, bytes, touch, &index));

  if (st == PN_OK) *out = m->window[index].base[m->local_rank];
  return st;
}

/* Every rank touches an equal part first. */
static pn_status touch_part(const struct shm_comm *m, char *start, size_t bytes) {
  size_t each = whole_pages(bytes / (size_t)m->local_size + 1), at = each * (size_t)m->local_rank;

  if (at >= bytes) return PN_OK;
  if (bytes - at < each) each = bytes - at;
  if (pn_pages_take(start + at, each) != PN_OK) return no_room(bytes);
  memset(start + at, 0, each);
  return PN_OK;
}

/* A page with the count of those who have freed it; then the copy, which ends at the end of a page
 * where private memory follows. */
static pn_status add_common(struct shm_comm *m, size_t common, size_t own) {
  size_t page = pn_page_bytes(), gap = own > 0 ? whole_pages(common) - common : 0;
  struct shm_window w;
  pn_status st = make(m, page + whole_pages(common) + whole_pages(own), true, &w);

  PN_TRY(st);
  w.common = (struct shm_common *)(void *)w.base[0];
  w.bytes = common;
  w.own = own;
  for (int r = 0; r < m->local_size; r++) w.base[r] += page + gap;
  PN_TRY(touch_part(m, w.base[0] - gap, gap + common));
  PN_TRY(pn_pages_make_private(w.base[0] + common, own));
  if (m->local_rank == 0) atomic_store(&w.common->freed, 0);
  m->window[m->n_windows++] = w;
  w.base = NULL;
done:
  free(w.base);
  return st;
}

pn_status pn_shm_alloc_common(pn_comm *c, size_t common, size_t own, void **out) {
  struct shm_comm *m = c->impl;
  pn_status st = pn_agree(c, add_common(m, common, own));

  if (st == PN_OK) *out = m->window[m->n_windows - 1].base[0];
  return st;
}

static void give_back(const struct shm_comm *m, const struct shm_window *w) {
  char *own = w->base[m->local_rank];

  if (!w->common) {
    pn_pages_drop(own, w->bytes, true);
  } else if (w->bytes > 0) {
    pn_pages_drop(own + w->bytes, w->own, false);
    if (atomic_fetch_add(&w->common->freed, 1) + 1 == m->local_size)
      pn_pages_drop(own, w->bytes, true);
  }
}

void pn_shm_free(pn_comm *c, void *p) {
  struct shm_comm *m = c->impl;

  for (int i = 2; i < m->n_windows; i++)
    if (m->window[i].base[m->local_rank] == p) {
      give_back(m, &m->window[i]);
      m->window[i].bytes = 0;
    }
}

void pn_shm_windows_free(struct shm_comm *m) {
  for (int i = 0; i < m->n_windows; i++) {
    if (i > 1) give_back(m, &m->window[i]); /* lanes and stage: a peer may still look at them */
    free(m->window[i].base);
  }
  free(m->window);
}

int pn_shm_find(const struct shm_comm *m, const void *p, int64_t bytes, int64_t *at) {
  uintptr_t x = (uintptr_t)p;

  for (int i = 1; i < m->n_windows; i++) {
    uintptr_t base = (uintptr_t)m->window[i].base[m->local_rank];
    if (x < base || x + (uintptr_t)bytes > base + m->window[i].bytes) continue;
    *at = (int64_t)(x - base);
    return i;
  }
  *at = 0;
  return -1;
}
