#!/bin/bash
# test_preempt.sh -- a signal (as Slurm sends before the time limit) to one rank stops all ranks after the same step with a checkpoint
# and exit code 75; a second one does not spoil it; resumed, the run ends with the same bits as one that was left alone.  So do ingest and study.
set -u
. "$SOURCE_DIR/tests/lib.sh"
say() { echo "FAILED: $*"; tail -n 8 err.txt | sed 's/^/    /'; failures=$((failures + 1)); }

rm -rf phantom shards ref again study run-* ./*pids
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

# An ingest keeps its finished shards.  All ranks are stopped from the moment that there is something to disturb until the signal has been sent.
"$MPIEXEC" -n 2 --bind-to none sh -c 'echo $$ >> ingest-pids; exec "$0" "$@"' "$PNEUMA" ingest phantom again --size 48 --quiet > out.txt 2> err.txt &
job=$!
while [ ! -s again/.ingest.lock ] && kill -0 $job 2> /dev/null; do :; done
# shellcheck disable=SC2046
kill -STOP $(cat ingest-pids)
kill -TERM "$(tail -n 1 ingest-pids)"
# shellcheck disable=SC2046
kill -CONT $(cat ingest-pids)
wait $job
code=$?
[ $code -eq 75 ] || say "ingest: exit code $code, expected 75"
[ "$(grep -c '^pneuma: .*stopped by SIGTERM; the same command' err.txt)" -eq 1 ] || say 'ingest: no line, or several'
[ -e again/index.json ] && say 'ingest: it was over before the signal'
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" ingest phantom again --size 48
diff -r shards again > diff.txt || say "ingest: other data after the signal: $(head -n 3 diff.txt)"

# A study ends after the run at hand; the same command goes on with those that are left, and reports as if nothing had happened.
cat > study.yaml << 'Y'
data: {path: shards}
model: {filters1: 8, filters2: 12, hidden: 8}
train: {steps: 6, epochs: 0, batch: 4, threads: 1, device: ref}
study:
  repeats: 2
  plots: false
  rows: [{name: serial, ranks: 1}, {name: ddp-2, strategy: ddp, ranks: 2}]
Y
study() { "$MPIEXEC" -n 2 --bind-to none sh -c 'echo $$ >> study-pids; exec "$0" "$@"' "$PNEUMA" study study.yaml out.path=study "$@" > out.txt 2> err.txt; }
PN_FAULT=1:read:sleep=2:3 study & # in the first run of ddp-2, so that the signal comes in it
job=$!
while ! grep -qs 'process sleeps' err.txt && kill -0 $job 2> /dev/null; do sleep 0.05; done
# shellcheck disable=SC2046
kill -USR2 $(tail -n 1 study-pids)
wait $job
code=$?
[ $code -eq 75 ] || say "study: exit code $code, expected 75"
[ "$(grep -c "^pneuma: .*stopped by SIGUSR2 after a run of row 'ddp-2'; the same command with train.resume=true" err.txt)" -eq 1 ] || say 'study: no line, or several'
[ -e study/study.csv ] && say 'study: it was over before the signal'
study && say 'study: its folder was taken without train.resume'
study train.resume=true train.batch=5 && say 'study: other options were accepted'
grep -q 'belongs to a study of other rows or options' err.txt || say 'study: other options: no word'
grep '^   "median"' study/rows/progress.json > before.txt
study train.resume=true || say "study: resumed: exit code $?"
grep -q '^resume .* 2 finished runs' err.txt || say 'study: nothing was kept'
grep -qE '^row .* run 1 of 2' err.txt && say 'study: a finished run was made again'
[ "$(grep -cE '^(serial|ddp-2),ok' study/study.csv)" -eq 2 ] || say "study: $(cat study/study.csv)"
[ "$(grep '^   "median"' study/rows/progress.json | head -n 2)" = "$(cat before.txt)" ] && [ "$(wc -l < before.txt)" -eq 2 ] || say 'study: other figures of the finished runs'
grep -q '"runs": \[' study/study.json && [ "$(grep -o '"repeats_agree": true' study/study.json | wc -l)" -eq 2 ] || say 'study: the runs do not agree'
# shellcheck disable=SC2001
sed 's/"host": "[^"]*"/"host": "elsewhere"/' study/rows/progress.json > moved.json && cp moved.json study/rows/progress.json
study train.resume=true || say "study: on another host: exit code $?"
grep -q '4 finished runs are of other hosts or cores: the study begins anew' err.txt || say 'study: runs of another host were kept'
finish preempt
