#!/bin/bash
# test_lock.sh -- two trainings never write one run folder: the second refuses and says who is there; a Slurm job that was requeued while its
# former start still runs (on a node that was cut off) takes over, and the former one stops without a trace.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
. "$SOURCE_DIR/tests/lib.sh"
say() { echo "FAILED: $*" | tee -a failed; }
train() { launch 60 2 env "${set[@]}" "$PNEUMA" train run.yaml --quiet "$@"; }
within() { for _ in $(seq 400); do "$@" && return 0; sleep 0.05; done; return 1; }
locked() { [ -s "$1/.run.lock" ]; }
# What counts of a run; log.txt may tell of a former start.  FIND'S OPTIONS: what else does not count.
content() { (cd "$1" && find . -type f ! -name log.txt "${@:2}" | sort | xargs sha256sum); }

rm -rf phantom shards ref run-* failed ./*.txt
"$PNEUMA" synth phantom --images 24 --seed 3 >synth.txt 2>&1 || { cat synth.txt; exit 1; }
"$PNEUMA" ingest phantom shards --size 32 >ingest.txt 2>&1 || { cat ingest.txt; exit 1; }
cat >run.yaml <<'Y'
data: {path: shards}
model: {filters1: 4, filters2: 4, hidden: 4, dropout: 0.2}
train: {batch: 6, epochs: 3, threads: 1, device: ref, checkpoint_steps: 2}
out: {plots: false}
Y
set=(A=1)
train out.path=ref >ref.txt 2>&1 || { cat ref.txt; exit 1; }
[ -e ref/.run.lock ] && say 'the lock is still there'

# Two at once.  The first sleeps in its fifth step, so that it surely is at work.
set=(PN_FAULT=1:read:sleep=4:5)
train out.path=run-two >first.txt 2>&1 &
first=$!
within locked run-two || say "no lock: $(cat first.txt)"
set=(A=1)
for resume in false true; do
  train out.path=run-two train.resume=$resume >second.txt 2>&1
  [ $? = 2 ] || say "the second, train.resume=$resume: exit code is not 2: $(cat second.txt)"
  grep -qE "^pneuma: another training \(process [0-9]+ on $(hostname)\) is writing to run-two: wait for it, or choose another folder" second.txt ||
    say "the second, train.resume=$resume, says: $(cat second.txt)"
done
wait $first || say "the first: exit code $?: $(cat first.txt)"
[ -n "$(sha ref)" ] && [ "$(sha run-two)" = "$(sha ref)" ] || say 'the first ended with other weights'
[ -e run-two/.run.lock ] && say 'the first left its lock'

# The same Slurm job, started again: it takes over; the former start wakes up afterwards and stops.
requeued() { # requeued MOMENT COMM [FIND'S OPTIONS]: of the former start's sleep
  local moment=$1 run=run-job-${1//[:=]/-}-$2 comm=train.comm=$2
  shift 2
  local old_txt=$run.old.txt new_txt=$run.new.txt
  set=(PN_FAULT=$moment SLURM_JOB_ID=4711)
  train out.path=$run $comm >$old_txt 2>&1 &
  old=$!
  within grep -qs 'the process sleeps' $old_txt || say "$moment: it does not sleep: $(cat $old_txt)"
  set=(SLURM_JOB_ID=4712 SLURM_RESTART_COUNT=1)
  train out.path=$run $comm train.resume=true >$run.other.txt 2>&1
  [ $? = 2 ] && grep -q 'another training' $run.other.txt || say "$moment: another job got in: $(cat $run.other.txt)"
  set=(SLURM_JOB_ID=4711 SLURM_RESTART_COUNT=1)
  train out.path=$run $comm train.resume=true >$new_txt 2>&1 || say "$moment: the requeued job: $(cat $new_txt)"
  kill -0 $old 2>/dev/null || say "$moment: the former start ended before the test did its work"
  [ "$(sha $run)" = "$(sha ref)" ] || say "$moment: other weights"
  grep -q 'start 1) has taken over\|was removed' $old_txt && say "$moment: it stopped too early"
  content $run "$@" >$run.before.txt
  wait $old
  [ $? = 1 ] || say "$moment: the former start: exit code is not 1: $(cat $old_txt)"
  grep -qE '^pneuma: rank 0 on .*(was removed|has taken over).*this training stops' $old_txt || say "$moment: the former start says: $(cat $old_txt)"
  content $run "$@" >$run.after.txt
  cmp -s $run.before.txt $run.after.txt || say "$moment: the former start wrote: $(diff $run.before.txt $run.after.txt)"
}
# Rank 0 writes the whole checkpoint with mpi; with shm each rank its part, in a folder of this start that only it knows.
# Three at a time: with all six at once a busy machine of two cores does not start them within 20 s.
moments='0:read:sleep=20:5 0:checkpoint:sleep=20:26 1:checkpoint:sleep=20:2'
for moment in $moments; do requeued $moment mpi & done
wait
for moment in $moments; do requeued $moment shm ! -path './checkpoints/*.tmp/*' & done
wait
requeued 0:read:sleep=12:8 mpi # in the validation of the second epoch, whose steps are written and whose row is not

# The same while the new one is still at work: the lock file is there, with its token.
set=(PN_FAULT=1:read:sleep=5:5 SLURM_JOB_ID=5)
train out.path=run-both >old.txt 2>&1 &
old=$!
within grep -qs 'the process sleeps' old.txt || say "it does not sleep: $(cat old.txt)"
set=(PN_FAULT=1:read:sleep=8:3 SLURM_JOB_ID=5 SLURM_RESTART_COUNT=2)
train out.path=run-both train.resume=true >new.txt 2>&1 &
new=$!
wait $old
[ $? = 1 ] && grep -qE 'process [0-9]+ on .* \(job 5, start 2\) has taken over: this training stops' old.txt || say "both at work: $(cat old.txt)"
kill -0 $new 2>/dev/null || say 'both at work: the new one ended first'
locked run-both || say 'both at work: the former start removed the lock of the new one'
wait $new || say "both at work: the new one: $(cat new.txt)"
[ "$(sha run-both)" = "$(sha ref)" ] || say 'both at work: other weights'

# The lock of another machine: not taken, but the message says how.
mkdir run-far
echo '4711 far-away' >run-far/.run.lock
set=(SLURM_JOB_ID=5 SLURM_RESTART_COUNT=2)
train out.path=run-far >far.txt 2>&1
[ $? = 2 ] && grep -qE 'locked by a training \(process 4711 on far-away\).*remove run-far/.run.lock and give the same command again' far.txt ||
  say "another machine's lock: $(cat far.txt)"
[ "$(cat run-far/.run.lock)" = '4711 far-away' ] || say "another machine's lock was touched"
echo '4711 far-away 5 1 0123456789abcdef other-kernel' >run-far/.run.lock
train out.path=run-far train.steps=2 >far.txt 2>&1 || say "the same job's lock on another machine: $(cat far.txt)"

# Removed by hand while the training runs: it does not go on without.
set=(PN_FAULT=0:read:sleep=2:5)
train out.path=run-hand >hand.txt 2>&1 &
first=$!
within grep -qs 'the process sleeps' hand.txt || say "it does not sleep: $(cat hand.txt)"
rm run-hand/.run.lock
wait $first
[ $? = 1 ] && grep -q 'run.lock was removed: this training stops' hand.txt || say "removed by hand: $(cat hand.txt)"

# A process that died leaves its lock; on the same machine it is free.
set=(PN_FAULT=0:read:kill:5)
train out.path=run-dead >dead.txt 2>&1
[ $? -ne 0 ] && locked run-dead || say "no lock after a kill: $(cat dead.txt)"
set=(A=1)
train out.path=run-dead train.resume=true >dead.txt 2>&1 || say "after a kill: $(cat dead.txt)"
[ "$(sha run-dead)" = "$(sha ref)" ] || say 'after a kill: other weights'
[ ! -e failed ]
