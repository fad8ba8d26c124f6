#!/bin/bash
# test_sanitizer.sh -- the op cases, the other kernels and the batches from bytes under NVIDIA's compute-sanitizer: no access outside
# of an allocation, no read of what was never written.  Skipped, with the reason, without the tool or a GPU.
#   PN_TEST_DEVICE  another device than cuda     PN_SANITIZER  the tool     PN_SANITIZER_S  seconds for one run
set -u
D=${PN_TEST_DEVICE:-cuda}
tool=${PN_SANITIZER:-$(PATH=$PATH:/usr/local/cuda/bin:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer)}
programs=${TEST_PROGRAMS:-$BUILD_DIR/tests}
[ -n "$tool" ] && [ -x "$tool" ] || { echo "SKIPPED: no compute-sanitizer on this machine${tool:+ ($tool)}"; exit 77; }
"$PNEUMA" info custom_cnn model.size=32 train.device="$D" > out.txt 2> err.txt || { echo "SKIPPED: $(cat err.txt)"; exit 77; }
failures=0 late=0
for check in memcheck initcheck; do
  for program in test_ops test_cuda test_images; do
    timeout -k 5 "${PN_SANITIZER_S:-60}" "$tool" --tool $check --target-processes all --error-exitcode 9 "$programs/$program" "$D" > log.txt 2>&1
    code=$?
    case $code in
      0) echo "$check, $program: no error" ;;
      124 | 137) late=1; echo "$check, $program: not at its end after ${PN_SANITIZER_S:-60} s, no error so far told" ;;
      *) failures=1; echo "FAILED: $check, $program: exit code $code"; grep -E '=========|FAILED|fail' log.txt | head -n 40 ;;
    esac
  done
done
[ $failures = 0 ] || exit 1
[ $late = 0 ] || { echo "SKIPPED: too slow here to be checked to the end"; exit 77; }
