#!/bin/bash
# test_resume.sh -- a run that is killed (SIGKILL, anywhere, in the middle of a save too) and resumed ends with the same bits as one
# that was left alone: weights, losses of all steps, metrics of all epochs; on 1 and 2 ranks.  Other options are refused or told.
set -u
. "$SOURCE_DIR/tests/lib.sh"
# what does not depend on the clock: losses and metrics
steps() { cut -d, -f1-4 "$1/steps.csv"; }
epochs() { cut -d, -f1-9 "$1/epochs.csv"; }
same() { # RUN REFERENCE WHAT
  [ -n "$(sha "$1")" ] && [ "$(sha "$1")" = "$(sha "$2")" ] || say "$3: other weights"
  [ "$(steps "$1")" = "$(steps "$2")" ] || say "$3: steps.csv differs: $(diff <(steps "$1") <(steps "$2") | head -n 5)"
  [ "$(epochs "$1")" = "$(epochs "$2")" ] || say "$3: epochs.csv differs: $(diff <(epochs "$1") <(epochs "$2"))"
  ls "$1"/checkpoints | grep -q tmp && say "$3: left $(ls "$1"/checkpoints)"
}
# train N ranks in the background; the ranks' own process ids are in pids
start() { # RANKS OPTIONS...
  rm -f pids
  "$MPIEXEC" -n "$1" --bind-to none sh -c 'echo $$ >> pids; exec "$0" "$@"' "$PNEUMA" train run.yaml "${@:2}" > out.txt 2> err.txt &
  job=$!
}
# SIGKILL to all ranks (Open MPI then ends the job); true if they were still there
kill_ranks() {
  local alive=1
  # shellcheck disable=SC2046
  kill -KILL $(cat pids 2> /dev/null) 2> /dev/null && alive=0
  wait $job 2> /dev/null
  return $alive
}

# a run that is killed soon after its checkpoint of step K, before it is complete
interrupt() { # RANKS RUN K
  local try
  for try in 1 2 3 4 5 6 7 8; do
    rm -rf "$2"
    start "$1" out.path="$2" train.checkpoint_steps=1
    while [ ! -d "$2/checkpoints/step_$3" ] && kill -0 $job 2> /dev/null; do :; done
    kill_ranks
    [ -f "$2/run.json" ] || return
  done
  say "$2: it was always complete before it could be killed"
}

rm -rf phantom shards ref-* run-* other
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 8, filters2: 12, hidden: 8, dropout: 0.3}\ntrain: {batch: 4, epochs: 2, threads: 1, device: ref, accumulate: 2}\noptim: {weight_decay: 0.01, ema: 0.9, clip_norm: 1}\nschedule: {name: onecycle}\naugment: {hflip: 0.5, mixup: 0.3}\ndata: {path: shards}\n' > run.yaml

for ranks in 1 2; do
  must "$MPIEXEC" -n $ranks --bind-to none "$PNEUMA" train run.yaml out.path=ref-$ranks
  n=$(($(wc -l < ref-$ranks/steps.csv) - 1))
  [ $n -ge 10 ] || say "only $n steps: the test is too small"
  # killed in the middle of an epoch
  for k in 2 $((n / 2 + 2)); do
    interrupt $ranks run-$ranks-$k $k
    must "$MPIEXEC" -n $ranks --bind-to none "$PNEUMA" train --resume out.path=run-$ranks-$k
    has err.txt "^resume +step [0-9]+ of $n .*from run-$ranks-$k/checkpoints/step_"
    same run-$ranks-$k ref-$ranks "$ranks ranks, killed after step $k"
  done
done

# killed again and again at random moments, saving all the time: it gets through, and to the same end
must "$PNEUMA" train run.yaml train.epochs=6 out.path=ref-random
newest() { ls run-random/checkpoints 2> /dev/null | grep -oE '^step_[0-9]+$' | cut -c6- | sort -n | tail -n 1; }
killed=0
for try in $(seq 1 60); do
  from=$(newest) more=$((RANDOM % 10 + 3))
  start 1 train.epochs=6 out.path=run-random train.resume=true train.checkpoint_steps=1
  while n=$(newest) && [ "${n:-0}" -lt $((${from:-0} + more)) ] && kill -0 $job 2> /dev/null; do :; done
  sleep 0.0$((RANDOM % 3))$((RANDOM % 10))
  if ! kill_ranks; then break; fi
  killed=$((killed + 1))
done
[ $killed -ge 2 ] || say "killed $killed times only"
[ -f run-random/run.json ] || must "$PNEUMA" train run.yaml train.epochs=6 out.path=run-random train.resume=true
same run-random ref-random "killed $killed times at random"
echo "killed $killed times at random moments"

# another number of ranks: the same run up to rounding
interrupt 1 run-grow 4
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train --resume out.path=run-grow
a=$(tail -n 1 run-grow/epochs.csv | cut -d, -f2) b=$(tail -n 1 ref-1/epochs.csv | cut -d, -f2)
awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; exit !(d < 1e-4 && d > -1e-4) }' || say "1 rank, then 2: loss $a, on 1 rank $b"

# what may not change, what may, and a run that is complete
refused() { # PATTERN OPTIONS...
  "$PNEUMA" train --resume out.path=run-1-2 "${@:2}" > out.txt 2> err.txt
  local rc=$?
  [ $rc = 2 ] || say "${*:2}: exit code $rc, expected 2"
  has err.txt "$1"
}
refused 'run-1-2 is complete: [0-9]+ of [0-9]+ steps are done; to go on give more, e.g. train.epochs=12$'
refused 'another model: hidden was 8, now 9' train.epochs=3 model.hidden=9
refused 'train.seed was 1, now 2' train.epochs=3 train.seed=2
refused 'images per step .* set train.batch=4' train.epochs=3 train.batch=5
refused 'optim.name was adam, now sgd' train.epochs=3 optim.name=sgd
must "$PNEUMA" ingest phantom other --size 48 --seed 3
refused 'trained on other data' train.epochs=3 data.path=other
must "$PNEUMA" train --resume out.path=run-1-2 train.epochs=3 optim.lr=0.0001
has err.txt 'changed: optim.lr +0.001 -> 0.0001'
has err.txt 'changed: train.epochs +2 -> 3'
[ "$(wc -l < run-1-2/epochs.csv)" = 4 ] || say "3 epochs, but: $(cat run-1-2/epochs.csv)"
"$PNEUMA" train run.yaml out.path=run-1-2 > out.txt 2> err.txt && say 'a folder in use was taken'
has err.txt 'is in use .*train.resume=true'
[ "$(find run-1-2/checkpoints -name 'step_*' | wc -l)" -le 3 ] || say "train.keep=2 and the best, but: $(ls run-1-2/checkpoints)"
must "$PNEUMA" eval run-1-2 --checkpoint best --split val

finish resume
