/* fake_progress.c -- a GPU goes on while its host waits for other ranks; the fake one does when the
 * host asks MPI whether they have come. */
#include "fake_cudart.h"

#include <mpi.h>

int MPI_Test(MPI_Request *request, int *done, MPI_Status *status) {
  fake_cuda_finish_all();
  return PMPI_Test(request, done, status);
}

int MPI_Testall(int n, MPI_Request requests[], int *done, MPI_Status statuses[]) {
  fake_cuda_finish_all();
  return PMPI_Testall(n, requests, done, statuses);
}
