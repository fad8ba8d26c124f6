/* fake_cudart.h -- a CUDA runtime for tests, in the place of libcudart_static.a: the GPU backend of
 * cuda/gpu runs with it on a machine without a GPU, its kernels as loops of the device emulated.
 *
 * It keeps the rules that a GPU has and the CPU has not.  Work waits in its stream until somebody
 * has to see it, in other streams too: what lacks an order shows.  Copies from pinned memory read
 * it when they run, those from other memory when they are called.  Device memory can be touched
 * only while work runs, begins as NaN, and has a red zone behind each allocation.  A capture takes
 * what is queued and refuses what CUDA refuses.  What CUDA leaves undefined ends the program with a
 * line that begins with "fake CUDA:".
 *
 * FAKE_CUDA_BYTES: memory of the GPU (default 8 GiB).  FAKE_CUDA_GPUS: how many (default 1).
 * FAKE_CUDA_ORDER=early: streams but the first run what they can at once: what begins too early
 * shows. */
#ifndef PN_TESTS_FAKE_CUDART_H
#define PN_TESTS_FAKE_CUDART_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void fake_work(void *args);

/* Queue work(copy of args); what a kernel, or a library, does. */
cudaError_t fake_cuda_queue(cudaStream_t s, fake_work *work, const void *args, size_t bytes);

/* Keeps the code for cudaGetLastError. */
cudaError_t fake_cuda_answer(cudaError_t rc);
_Noreturn void fake_cuda_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* fake_memory.c.  open: what follows may touch device memory, until it is closed. */
void fake_memory_open(void);
void fake_memory_close(void);
bool fake_memory_on_device(const void *p); /* in its address range */
/* Dies unless [p, p + bytes) lies in one allocation. */
void fake_memory_check(const void *p, size_t bytes, const char *what);
bool fake_memory_is_pinned(const void *p, size_t bytes);

fake_work fake_cuda_copy, fake_cuda_set; /* fake_copy.c */

/* fake_cudart.c: what a capture forbids.  True, and the capture is spoilt, while one goes on. */
bool fake_cuda_capturing(void);
void fake_cuda_finish_all(void); /* all streams */

bool fake_cuda_in_graph(cudaStream_t s); /* what is queued goes to a graph */
int fake_cuda_graphs(void);              /* that can be launched */

#endif
