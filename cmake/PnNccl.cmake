# NCCL is loaded when the program runs (docs/gpu.md), so the build needs nothing of it: AUTO builds the
# communicator in and says whether the library is on this machine, ON insists that it is, OFF leaves it out.
#   sets nccl_library: the file, empty when there is none; nccl_detail
find_program(PN_LDCONFIG ldconfig PATHS /sbin /usr/sbin)
set(PN_NCCL_FOLDERS "$ENV{CUDA_HOME}/lib64;$ENV{CUDA_HOME}/lib;/usr/local/cuda/lib64;/usr/local/nvidia/lib64;/usr/local/nvidia/lib"
  CACHE STRING "Folders searched for libnccl.so.2 after the linker's cache")

set(nccl_library "")
set(nccl_detail "loaded at run time")
if(PN_LDCONFIG)
  execute_process(COMMAND ${PN_LDCONFIG} -p OUTPUT_VARIABLE text ERROR_QUIET)
  if(text MATCHES "libnccl\\.so\\.2 [^\n]*=> ([^\n]+)")
    set(nccl_library "${CMAKE_MATCH_1}")
  endif()
endif()
if(NOT nccl_library)
  foreach(folder ${PN_NCCL_FOLDERS})
    if(NOT nccl_library AND EXISTS "${folder}/libnccl.so.2")
      set(nccl_library "${folder}/libnccl.so.2")
      set(nccl_detail "loaded at run time, with ${folder} in LD_LIBRARY_PATH")
    endif()
  endforeach()
endif()
