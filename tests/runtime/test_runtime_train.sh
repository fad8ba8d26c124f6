#!/bin/bash
# test_runtime_train.sh -- trainings on the device cuda, its GPU played by a made-up CUDA runtime (fake/fake_cudart.h), cuDNN and
# cuBLASLt: cli/test_emulated.sh with it, work run as late as it may be, and as early.
set -u
run=$BUILD_DIR/tests/fake_gpu/fake_pneuma
[ -x "$run" ] || { echo 'SKIPPED: this build has no CUDA'; exit 77; }
export PNEUMA=$run DEVICE=cuda LD_LIBRARY_PATH=$BUILD_DIR/tests/fake_gpu:$BUILD_DIR/tests/fake PN_CUDA_CACHE=$PWD/algorithms.txt
rm -f "$PN_CUDA_CACHE"
bash "$SOURCE_DIR/tests/cli/test_emulated.sh" && FAKE_CUDA_ORDER=early bash "$SOURCE_DIR/tests/cli/test_emulated.sh"
