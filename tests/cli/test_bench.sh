#!/bin/bash
# test_bench.sh -- `pneuma bench comm`: rows of every operation, correct, as text and as JSON; refusals.
set -u
. "$SOURCE_DIR/tests/lib.sh"
small="bench.from_kb=4 bench.to_mb=1 bench.row_s=0.001"

for ranks in 2 3; do
  for comm in shm mpi; do
    "$MPIEXEC" -n $ranks "$PNEUMA" bench comm $small train.comm=$comm --json > out.json 2> err.txt ||
      say "bench comm, $ranks ranks, $comm: exit code $?: $(cat err.txt)"
    for op in allreduce reduce_scatter allgather allreduce_plain; do
      [ "$(grep -c "\"op\": \"$op\"" out.json)" = 9 ] || say "$op: not 9 sizes on $ranks ranks with $comm"
    done
    [ "$(grep -c '"correct": true' out.json)" = 36 ] || say "wrong sums on $ranks ranks with $comm"
    for field in bytes ranks us mpi_us ratio algbw_GBps busbw_GBps; do has out.json "\"$field\": [0-9]"; done
    has out.json "\"comm\": \"$comm\""
  done
done

"$MPIEXEC" -n 2 "$PNEUMA" bench comm $small > out.txt 2> err.txt || say "text: exit code $?"
has out.txt '^allreduce +4.00 KiB .* yes$'
has out.txt 'times the library.s speed'

"$PNEUMA" bench comm $small > out.txt 2> err.txt && say 'one rank was accepted'
has err.txt 'mpirun -n 2'
"$PNEUMA" bench tea > out.txt 2> err.txt
[ $? = 2 ] || say 'bench tea: exit code is not 2'
has err.txt 'expected comm'
finish bench
