# env.sh -- sourced by the bundle's commands (POSIX sh; `root` is set): how to start a program with the libraries that
# came with it.  Set by a user where needed:
#   PNEUMA_LIBC       auto (default: this machine's C library unless it is older than the bundle's), bundled, host
#   PNEUMA_CUDA_PATH  folders with cuDNN, cuBLAS and NCCL, a:b:c; default: where pip and CUDA's installer put them
[ -d "$root/lib" ] || sh "$root/unpack" || exit 1

host_loader=/lib64/ld-linux-x86-64.so.2

# True where this machine's C library is at least version $1.
host_libc_is() {
  [ -x $host_loader ] || return 1
  version=$($host_loader --version 2> /dev/null | sed -n '1s/.*version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  [ -n "$version" ] || return 1
  [ "${version#* }" -ge "${1#*.}" ] && [ "${version% *}" -ge "${1%.*}" ]
}

# Folders with NVIDIA's libraries, `:` before each.
cuda_folders() {
  bin=$(dirname "$(command -v python3 || echo /usr/bin/python3)")
  for folder in "$bin"/../lib/python3*/site-packages/nvidia/*/lib /usr/local/lib/python3*/*-packages/nvidia/*/lib \
    /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
    for lib in "$folder"/libcudnn.so* "$folder"/libcublasLt.so* "$folder"/libnccl.so* "$folder"/libcudart.so*; do
      [ -e "$lib" ] && printf ':%s' "$folder" && break
    done
  done
}

# Once per job: ranks inherit it.
if [ "$PNEUMA_BUNDLE" != "$root" ]; then
  case ${PNEUMA_LIBC:-auto} in
    bundled) PNEUMA_LOADER=$root/lib/glibc/ld-linux-x86-64.so.2 ;;
    host) PNEUMA_LOADER=$host_loader ;;
    auto)
      PNEUMA_LOADER=$root/lib/glibc/ld-linux-x86-64.so.2
      if host_libc_is "$(cat "$root/lib/glibc/VERSION")"; then PNEUMA_LOADER=$host_loader; fi
      ;;
    *)
      echo "PNEUMA_LIBC=$PNEUMA_LIBC: expected auto, bundled or host" >&2
      exit 2
      ;;
  esac
  PNEUMA_LIBS=$root/lib${PNEUMA_CUDA_PATH:+:$PNEUMA_CUDA_PATH}$([ -n "$PNEUMA_CUDA_PATH" ] || cuda_folders)
  [ "$PNEUMA_LOADER" = $host_loader ] || PNEUMA_LIBS=$root/lib/glibc:$PNEUMA_LIBS
  PNEUMA_BUNDLE=$root
  export PNEUMA_BUNDLE PNEUMA_LOADER PNEUMA_LIBS
fi

# Open MPI, PMIx, hwloc and DCMTK look for their parts where they were installed.
export OPAL_PREFIX="$root" OPAL_BINDIR="$root/bin" OPAL_LIBDIR="$root/lib" OPAL_PKGLIBDIR="$root/lib/openmpi"
export OPAL_PKGDATADIR="$root/share/openmpi" OPAL_SYSCONFDIR="$root/etc/openmpi"
export OMPI_MCA_mca_base_component_path="$root/lib/openmpi"
# Without ssh, as in containers, Open MPI does not start even on one host, unless it is given something to call.
command -v ssh > /dev/null || command -v rsh > /dev/null || export OMPI_MCA_plm_rsh_agent="$root/bin/no_ssh"
export PMIX_INSTALL_PREFIX="$root" PMIX_PREFIX="$root" PMIX_PKGLIBDIR="$root/lib/pmix"
export PMIX_MCA_mca_base_component_path="$root/lib/pmix" PMIX_MCA_pmdl='^oshmem'
export HWLOC_PLUGINS_PATH="$root/lib/hwloc" HWLOC_HIDE_ERRORS=2
export DCMDICTPATH="$root/share/dcmtk/dicom.dic:$root/share/dcmtk/private.dic"

# start PROGRAM ARG...: instead of this shell.  A program finds its command in argv[0] (/proc/self/exe is the loader);
# Open MPI's own would take a path there for --prefix, and pass it on in LD_LIBRARY_PATH.
start() {
  program=$1
  shift
  case $program in mpirun | orted) name=$program ;; *) name=$root/bin/$program ;; esac
  exec "$PNEUMA_LOADER" --library-path "$PNEUMA_LIBS${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" --argv0 "$name" \
    "$root/exe/$program" "$@"
}
