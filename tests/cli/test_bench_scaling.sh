#!/bin/bash
# test_bench_scaling.sh -- tools/bench_scaling: every job runs, beside each other; the figures are complete.  No speed is asked for.
set -u
. "$SOURCE_DIR/tests/lib.sh"
[ "$(nproc)" -ge 2 ] || { echo 'skipped: needs two cores'; exit 77; }
small="--no-peer --mpiexec $MPIEXEC --model custom_cnn --batch 2 --reps 1 --steps 1"

"$BUILD_DIR/bench_scaling" $small > out.txt 2> err.txt || say "exit code $?: $(tail -n 3 err.txt)"
has out.txt '^custom_cnn, 2 images per rank \(strong: 4 in all\)'
has out.txt '^2 jobs without communication +ceiling +[0-9.]+ .*efficiency [0-9.]+'
has out.txt '^ddp +weak +.*efficiency [0-9.]+.*of the ceiling; exposed [0-9.]+ %, .*goal 0.95: '
for s in ddp zero1 fsdp; do has out.txt "^$s +strong .*goal 0.9[0-9]*: "; done

"$BUILD_DIR/bench_scaling" $small --json > out.json 2> err.txt || say "--json: exit code $?: $(tail -n 3 err.txt)"
[ "$(grep -c '"comm_exposed_share"' out.json)" = 4 ] || say 'not four rows with communication'
[ "$(grep -c '"efficiency_of_ceiling"' out.json)" = 4 ] || say 'not four rows beside the ceiling'

"$BUILD_DIR/bench_scaling" --model lenet > out.txt 2> err.txt
[ $? = 2 ] || say 'an unknown model: exit code is not 2'
"$BUILD_DIR/bench_scaling" $small --mpiexec /bin/false > out.txt 2> err.txt && say 'no mpirun was not noticed'
has err.txt 'the ranks do not start'
# beside PyTorch, where it is
python=/opt/peer/bin/python
if [ -x $python ] && $python -c 'import torch' 2> /dev/null; then
  cd "$SOURCE_DIR" && "$BUILD_DIR/bench_scaling" ${small/--no-peer/} > "$WORK_DIR/peer.txt" 2> "$WORK_DIR/err.txt" || say "beside PyTorch: exit code $?"
  has "$WORK_DIR/peer.txt" '^PyTorch .*efficiency [0-9.]+'
else
  echo 'PyTorch is not here: not tried beside it'
fi
finish bench_scaling
