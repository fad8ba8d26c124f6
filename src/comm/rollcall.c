/* rollcall.c -- see rollcall.h. */
#include "comm/rollcall.h"

#include "base/clock.h"
#include "comm/comm_backend.h"
#include "comm/watchdog.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ADDRESSES = 4, HOST_BYTES = 64, QUERY = 1, ANSWER = 2 };
static const double PATIENCE_S = 0.4;

typedef struct {
  uint32_t address[MAX_ADDRESSES]; /* IPv4, network order; 0: none */
  uint16_t port;                   /* network order; 0: cannot be asked */
  char host[HOST_BYTES];
} contact;

typedef struct {
  uint64_t token; /* of the job: others' datagrams are dropped */
  int32_t type;
  pn_roll_entry entry;
} message;

static struct {
  int size, socket, users;
  uint64_t token;
  contact *all; /* [size] */
  char (*host)[HOST_BYTES];
  pthread_t thread;
  bool answering;
  atomic_bool stop;
} roll = {.socket = -1};

static void timeout_of(int fd, long microseconds) {
  struct timeval t = {.tv_usec = microseconds};
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

static void find_addresses(contact *c) {
  struct ifaddrs *all = NULL;
  int n = 0;

  if (getifaddrs(&all) != 0) return;
  for (const struct ifaddrs *i = all; i && n < MAX_ADDRESSES; i = i->ifa_next)
    if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) &&
        !(i->ifa_flags & IFF_LOOPBACK)) {
      struct sockaddr_in a;
      memcpy(&a, i->ifa_addr, sizeof a);
      c->address[n++] = a.sin_addr.s_addr;
    }
  freeifaddrs(all);
}

/* A socket on any free port; without one the contact has no port. */
static void open_socket(contact *own) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t bytes = sizeof a;

  gethostname(own->host, sizeof own->host - 1);
  if ((roll.socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0) return;
  if (bind(roll.socket, (struct sockaddr *)&a, sizeof a) != 0 ||
      getsockname(roll.socket, (struct sockaddr *)&a, &bytes) != 0)
    return;
  own->port = a.sin_port;
  timeout_of(roll.socket, 500000);
  find_addresses(own);
}

static void *answer(void *unused) {
  struct sockaddr_in from;
  socklen_t bytes;
  message m;

  (void)unused;
  while (!atomic_load(&roll.stop)) {
    bytes = sizeof from;
    if (recvfrom(roll.socket, &m, sizeof m, 0, (struct sockaddr *)&from, &bytes) !=
            (ssize_t)sizeof m ||
        m.token != roll.token || m.type != QUERY || atomic_load(&roll.stop))
      continue;
    m.type = ANSWER;
    pn_watchdog_state(&m.entry);
    (void)sendto(roll.socket, &m, sizeof m, 0, (struct sockaddr *)&from, bytes);
  }
  return NULL;
}

static void start_answering(void) {
  sigset_t all, old;

  atomic_store(&roll.stop, false);
  sigfillset(&all); /* signals are the main thread's business */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  roll.answering = pthread_create(&roll.thread, NULL, answer, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
}

pn_status pn_rollcall_start(pn_comm *world) {
  contact own = {.port = 0};
  pn_status st = PN_OK;

  if (roll.users++ > 0) return PN_OK;
  roll.size = world->size;
  roll.all = calloc((size_t)world->size, sizeof *roll.all);
  roll.host = calloc((size_t)world->size, sizeof *roll.host);
  open_socket(&own);
  if (getrandom(&roll.token, sizeof roll.token, 0) < 0) roll.token = (uint64_t)getpid();
  if (!roll.all || !roll.host) PN_TRY(PN_FAIL(PN_ERR_NOMEM, "addresses of the ranks"));
  PN_TRY(world->ops->bcast(world, &roll.token, (int64_t)sizeof roll.token, PN_U8, 0));
  PN_TRY(world->ops->allgather(world, &own, roll.all, (int64_t)sizeof own, PN_U8));
  for (int r = 0; r < roll.size; r++) memcpy(roll.host[r], roll.all[r].host, HOST_BYTES);
  if (own.port) start_answering();
done:
  if (st != PN_OK) pn_rollcall_stop();
  return st;
}

static void send_to(int fd, const message *m, uint32_t address, uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port};

  to.sin_addr.s_addr = address;
  (void)sendto(fd, m, sizeof *m, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
}

void pn_rollcall_stop(void) {
  message nothing = {.type = 0};

  if (roll.users == 0 || --roll.users > 0) return;
  if (roll.answering) {
    struct sockaddr_in a = {.sin_port = 0};
    socklen_t bytes = sizeof a;
    atomic_store(&roll.stop, true);
    if (getsockname(roll.socket, (struct sockaddr *)&a, &bytes) == 0)
      send_to(roll.socket, &nothing, htonl(INADDR_LOOPBACK), a.sin_port); /* wakes it */
    pthread_join(roll.thread, NULL);
  }
  if (roll.socket >= 0) close(roll.socket);
  free(roll.all);
  free(roll.host);
  roll.socket = -1;
  roll.size = 0;
  roll.answering = false;
  roll.all = NULL;
  roll.host = NULL;
}

int pn_rollcall_size(void) {
  return roll.size;
}

static void ask_all(int fd, const message *query) {
  char host[HOST_BYTES] = "";

  gethostname(host, sizeof host - 1);
  for (int r = 0; r < roll.size; r++) {
    const contact *c = &roll.all[r];
    if (!c->port) continue;
    if (strcmp(c->host, host) == 0) send_to(fd, query, htonl(INADDR_LOOPBACK), c->port);
    for (int i = 0; i < MAX_ADDRESSES && c->address[i]; i++)
      send_to(fd, query, c->address[i], c->port);
  }
}

int pn_rollcall_ask(pn_roll_entry *out, const char (**host)[64]) {
  message m = {.token = roll.token, .type = QUERY};
  double end = pn_now() + PATIENCE_S;
  int heard = 0, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  if (fd < 0 || roll.size == 0) return 0;
  for (int r = 0; r < roll.size; r++) out[r] = (pn_roll_entry){.rank = r, .state = PN_ROLL_SILENT};
  timeout_of(fd, 50000);
  ask_all(fd, &m);
  while (heard < roll.size && pn_now() < end)
    if (recv(fd, &m, sizeof m, 0) == (ssize_t)sizeof m && m.token == roll.token &&
        m.type == ANSWER && m.entry.rank >= 0 && m.entry.rank < roll.size) {
      heard += out[m.entry.rank].state == PN_ROLL_SILENT;
      out[m.entry.rank] = m.entry;
    }
  close(fd);
  *host = (const char(*)[64])roll.host;
  return roll.size;
}
