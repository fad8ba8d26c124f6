#!/bin/bash
# test_shm_death.sh -- gradients in shared memory: a rank that dies, or hangs, in the middle of training ends the job with a
# message and a code; nothing is left in /dev/shm.
set -u
. "$SOURCE_DIR/tests/lib.sh"
gone() { # PID SECONDS: wait for the end, no longer than that
  for _ in $(seq "$(($2 * 10))"); do kill -0 "$1" 2> /dev/null || return 0; sleep 0.1; done
  return 1
}
# the last rank's process id, once steps are done
start() { # STRATEGY OPTIONS...
  rm -rf pids run
  "$MPIEXEC" -n 2 --bind-to none sh -c 'echo "$OMPI_COMM_WORLD_RANK $$" >> pids; exec "$0" "$@"' "$PNEUMA" train run.yaml \
    train.strategy="$1" out.path=run "${@:2}" > out.txt 2> err.txt &
  job=$!
  for _ in $(seq 300); do ls run/checkpoints 2> /dev/null | grep -q 'step_[0-9]*$' && break; sleep 0.1; done
  victim=$(awk '$1 == 1 {print $2}' pids)
}

rm -rf phantom shards
# the windows; what Open MPI keeps for its messages outlives a killed rank (5.0) and is not ours
segments() { ls /dev/shm | grep -vE '^(sm|vader)_segment'; }
before=$(segments)
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 8, filters2: 12, hidden: 16}\ntrain: {batch: 4, epochs: 100000, threads: 1, comm: shm, checkpoint_steps: 5, validate: false}\ndata: {path: shards}\n' > run.yaml

for s in ddp fsdp; do
  start $s
  kill -KILL "$victim"
  gone $job 10 || { say "$s: a rank was killed, the job goes on"; kill $job; }
  wait $job && say "$s: a rank was killed, exit code 0"
  has err.txt 'signal 9|Killed|killed'
done

# a rank that stands still: the other one waits in a transfer, and says in which
start zero1 run.watchdog_s=2
kill -STOP "$victim"
sleep 4
kill -CONT "$victim" 2> /dev/null # so that it can be ended
gone $job 10 || { say 'a rank stood still, the job goes on'; kill $job; }
wait $job && say 'a rank stood still, exit code 0'
has err.txt 'rank 0 .*stuck 2 s in collective #[0-9]+ .*run.watchdog_s'
[ "$(segments)" = "$before" ] || say "/dev/shm: $(segments)"
finish shm_death
