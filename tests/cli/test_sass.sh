#!/bin/bash
# test_sass.sh -- what the compiler made of the GPU's kernels, read from the program: no local memory, no division of 64-bit numbers,
# no more instructions per 16 bytes than a GPU has time for.  Skipped without CUDA in the build, or without cuobjdump.
set -u
. "$SOURCE_DIR/tests/lib.sh"
checked=0
for arch in sm_80 sm_90 sm_100; do
  "$SOURCE_DIR/tools/sass.py" "$PNEUMA" --arch $arch --check > $arch.txt 2> err.txt
  code=$?
  if [ $code = 77 ]; then cat err.txt; continue; fi
  [ $code = 0 ] || say "$arch: $(grep fault $arch.txt; cat err.txt)"
  has $arch.txt '^norm_apply bf16 8 +[0-9]+ +[0-9]+ +0 '
  has $arch.txt '^update f32 1 '
  [ "$(grep -cE '^[a-z_]+ (f32|bf16|fp16) (1|4|8) ' $arch.txt)" -ge 100 ] || say "$arch: too few kernels: $(cat $arch.txt)"
  checked=$((checked + 1))
done
[ $checked -gt 0 ] || { echo 'skipped: no GPU code or no cuobjdump'; exit 77; }
echo "checked $checked architectures"
finish test_sass
