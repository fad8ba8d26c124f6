#!/bin/bash
# test_preempt.sh -- a signal (as Slurm sends before the time limit) to one rank stops all ranks after the same step with a checkpoint
# and exit code 75; a second one does not spoil it; resumed, the run ends with the same bits as one that was left alone.
set -u
bad=0
say() { echo "FAILED: $*"; sed 's/^/    /' err.txt; bad=1; }
must() { "$@" > out.txt 2> err.txt || { say "$*: exit code $?"; exit 1; }; }
sha() { grep -o '"weights_sha256": "[0-9a-f]*"' "$1/run.json"; }

rm -rf phantom shards ref run-*
must "$PNEUMA" synth phantom --images 40 --seed 6
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 8, filters2: 12, hidden: 8, dropout: 0.3}\ntrain: {batch: 4, epochs: 3, threads: 1, device: ref, resume: true}\ndata: {path: shards}\n' > run.yaml
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=ref

for signal in USR1 USR2 TERM; do
  run=run-$signal
  rm -f pids
  "$MPIEXEC" -n 2 --bind-to none sh -c 'echo $$ >> pids; exec "$0" "$@"' "$PNEUMA" train run.yaml train.checkpoint_steps=3 out.path=$run \
    > out.txt 2> err.txt &
  job=$!
  while [ ! -d $run/checkpoints/step_3 ] && kill -0 $job 2> /dev/null; do :; done
  kill -$signal "$(tail -n 1 pids)"
  kill -USR1 "$(tail -n 1 pids)" 2> /dev/null # impatient
  wait $job
  code=$?
  [ $code -eq 75 ] || say "$signal: exit code $code, expected 75"
  [ "$(grep -c "stopped by SIG.* after step .* train.resume=true" err.txt)" -eq 1 ] || say "$signal: no line, or several"
  [ -f $run/run.json ] && say "$signal: the run was over before the signal: make it longer"
  must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=$run
  [ -n "$(sha ref)" ] && [ "$(sha $run)" = "$(sha ref)" ] || say "$signal: other weights after the resume"
done
exit $bad
