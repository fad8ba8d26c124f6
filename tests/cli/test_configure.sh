#!/bin/bash
# test_configure.sh -- the build options PN_CUDA, PN_NCCL, PN_ONEDNN, PN_DCMTK: OFF builds without and says so where it
# is asked for, a value that is none is refused, ON stops where the library is missing and names the package.
set -u
. "$SOURCE_DIR/tests/lib.sh"
command -v cmake > /dev/null || { echo 'skipped: no cmake'; exit 77; }
rm -rf off on lib && mkdir lib

configure() { cmake -S "$SOURCE_DIR" -B "$@" > out.txt 2> err.txt; }
for part in CUDA NCCL ONEDNN DCMTK; do
  configure on -DPN_$part=YES && say "PN_$part=YES was taken"
  has err.txt "PN_$part=YES: expected AUTO, ON or OFF"
  rm -rf on
done

# NCCL: nothing is linked, so what counts is whether the file is here
none='-DPN_TESTS=OFF -DPN_CUDA=OFF -DPN_LDCONFIG=/bin/true'
configure on $none -DPN_NCCL=ON -DPN_NCCL_FOLDERS="$PWD/lib" && say 'PN_NCCL=ON was taken without a library'
has out.txt 'NCCL +MISSING  PN_NCCL=ON, no libnccl.so.2 here: apt install libnccl2'
has err.txt 'sudo apt install libnccl2'
configure on $none -DPN_NCCL=AUTO || say "PN_NCCL=AUTO: $(tail -n 3 err.txt)"
has out.txt 'NCCL +absent   built in, loaded at run time; no libnccl.so.2 here: apt install libnccl2'
: > lib/libnccl.so.2
configure on $none -DPN_NCCL=ON || say "PN_NCCL=ON with a library: $(tail -n 3 err.txt)"
has out.txt "NCCL +found    $PWD/lib/libnccl.so.2, loaded at run time, with $PWD/lib in LD_LIBRARY_PATH"

# all four off: builds, runs, and names what is not there
parts='-DPN_CUDA=OFF -DPN_NCCL=OFF -DPN_ONEDNN=OFF -DPN_DCMTK=OFF'
configure off $parts -DPN_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug || { say "all off: $(tail -n 5 err.txt)"; exit 1; }
for part in CUDA NCCL ONEDNN DCMTK; do has out.txt "^  $part +off +PN_$part=OFF"; done
must cmake --build off --target pneuma -j 2
off() { # PATTERN COMMAND...: refused, with the reason
  local pattern=$1
  shift
  timeout 60 off/pneuma "$@" > out.txt 2> err.txt && say "$* was taken"
  has err.txt "$pattern"
}
must off/pneuma info
has out.txt 'nccl +none'
has out.txt 'onednn +none'
has out.txt 'dcmtk +none'
off 'not in this build: .*-DPN_ONEDNN=ON' info custom_cnn train.device=onednn
off 'not in this build: .*-DPN_CUDA=ON' info custom_cnn train.device=cuda
off 'this build has no DCMTK: apt install libdcmtk-dev' synth phantoms --images 4
mpi 2 off/pneuma bench comm train.comm=nccl > out.txt 2> err.txt && say 'nccl was taken'
has err.txt 'built without NCCL: configure with -DPN_NCCL=AUTO and rebuild, or use train.comm=auto'
must mpi 2 off/pneuma bench comm train.comm=shm bench.from_kb=4 bench.to_mb=1 bench.row_s=0.001
rm -rf off on

finish configure
