#!/bin/bash
# test_runtime_half.sh -- the same in bf16 and fp16: cli/test_half.sh.
set -u
run=$BUILD_DIR/tests/fake_gpu/fake_pneuma
[ -x "$run" ] || { echo 'SKIPPED: this build has no CUDA'; exit 77; }
export PNEUMA=$run DEVICE=cuda LD_LIBRARY_PATH=$BUILD_DIR/tests/fake_gpu:$BUILD_DIR/tests/fake PN_CUDA_CACHE=$PWD/algorithms.txt
rm -f "$PN_CUDA_CACHE"
exec bash "$SOURCE_DIR/tests/cli/test_half.sh"
