#!/bin/bash
# test_gpu_rows.sh -- the rows of `ctest -L gpu` on a machine without a GPU: all of them skip and say why; on the device emulated
# (PN_TEST_DEVICE) they run; what compute-sanitizer finds is a failure.  The trainings on it are cli.test_emulated.
set -u
. "$SOURCE_DIR/tests/lib.sh"

rm -f calls.txt
unset PN_TEST_DEVICE
if command -v nvidia-smi > /dev/null; then
  echo 'a GPU is here: ctest -L gpu tests it'
else
  ctest --test-dir "$BUILD_DIR" -L '^gpu$' --no-tests=error > gpu.txt 2>&1 || say "ctest -L gpu without a GPU: $(tail -n 20 gpu.txt)"
  rows=$(grep -cE ' Test +#[0-9]+: gpu\.' gpu.txt)
  [ "$rows" -ge 6 ] && [ "$(grep -cE '\*\*\*Skipped' gpu.txt)" -eq "$rows" ] || say "rows that were not skipped: $(cat gpu.txt)"
  "$BUILD_DIR/tests/test_ops" cuda > why.txt 2>&1
  [ $? -eq 77 ] || say 'test_ops cuda does not skip'
  has why.txt '^SKIPPED: .*(device|GPU|CUDA)'
fi

export PN_TEST_DEVICE=emulated
ctest --test-dir "$BUILD_DIR" -R '^gpu\.test_(images|cuda)$' --no-tests=error > emulated.txt 2>&1 || say "rows on emulated: $(tail -n 20 emulated.txt)"
grep -q 'Skipped' emulated.txt && say "rows on emulated were skipped: $(cat emulated.txt)"

# a tool that runs the program, and one that finds something
rm -f calls.txt
printf '#!/bin/bash\necho "$@" >> calls.txt\nwhile [ "${1#/}" = "$1" ]; do shift; done\n[ "${1##*/}" = test_cuda ] || exit 0\nexec "$@"\n' > clean
printf '#!/bin/bash\necho "========= Invalid __global__ write of size 4 bytes"\nexit 9\n' > dirty
printf '#!/bin/bash\nsleep 30\n' > slow
chmod +x clean dirty slow
script=$SOURCE_DIR/tests/gpu/test_sanitizer.sh
PN_SANITIZER=$PWD/clean bash "$script" > clean.txt 2>&1 || say "a clean run: $(cat clean.txt)"
[ "$(grep -c 'no error$' clean.txt)" -eq 6 ] || say "runs: $(cat clean.txt)"
[ "$(grep -cE -- '--tool (memcheck|initcheck) .*/test_(ops|cuda|images) emulated$' calls.txt)" -eq 6 ] || say "calls: $(cat calls.txt)"
PN_SANITIZER=$PWD/dirty bash "$script" > dirty.txt 2>&1
[ $? -eq 1 ] || say 'what the sanitizer finds is no failure'
has dirty.txt '^FAILED: memcheck, test_ops: exit code 9'
has dirty.txt '^=+ Invalid __global__ write'
PN_SANITIZER=$PWD/slow PN_SANITIZER_S=1 bash "$script" > slow.txt 2>&1
[ $? -eq 77 ] || say 'a slow run is not skipped'
PN_SANITIZER=$PWD/none bash "$script" > none.txt 2>&1
[ $? -eq 77 ] || say 'no tool, but not skipped'
has none.txt '^SKIPPED: no compute-sanitizer on this machine'
finish gpu_rows
