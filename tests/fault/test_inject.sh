#!/bin/bash
# test_inject.sh -- PN_FAULT at every site, of every kind, on one of 3 ranks: all leave within 10 s, the exit code is not 0, one line names rank,
# host, site and the way out; what is left is whole: resumed without the fault the run ends with the weights of an undisturbed one.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
host=$(hostname) run=run out=out.txt
. "$SOURCE_DIR/tests/lib.sh"
say() { echo "FAILED: $*" | tee -a failed.txt; sed 's/^/    /' $out | head -n 20; }
train() { launch 30 3 "$PNEUMA" train run.yaml --quiet "$@" >$out 2>&1; }

rm -rf phantom shards ref case.* failed.txt
"$PNEUMA" synth phantom --images 24 --seed 3 >out.txt 2>&1 || { say synth; exit 1; }
"$PNEUMA" ingest phantom shards --size 32 >out.txt 2>&1 || { say ingest; exit 1; }
cat >run.yaml <<'Y'
data: {path: shards}
model: {filters1: 4, filters2: 4, hidden: 4, dropout: 0.2}
train: {batch: 6, epochs: 3, threads: 1, device: ref, checkpoint_steps: 2, resume: true}
out: {plots: false}
run: {watchdog_s: 2}
Y
train out.path=ref || { say 'the undisturbed run'; exit 1; }
want=$(sha ref)
[ -n "$want" ] || { say 'no weights'; exit 1; }

resume() { # resume WHAT
  out=$run/resumed.txt
  train out.path=$run/run || { say "$1: the resumed run: exit code $?"; return; }
  [ "$(sha $run/run)" = "$want" ] || say "$1: other weights after the resume"
}

attempt() { # FAULT
  local start=$EPOCHREALTIME
  rm -rf $run/run
  PN_FAULT=$1 train out.path=$run/run
  code=$?
  took=$(((${EPOCHREALTIME/./} - ${start/./}) / 1000))
}

# one FAULT CODE LINE [LINE OF ANOTHER RANK]: CODE any: not 0 and not a timeout of this script's
one() {
  local code took lines who="rank ${1%%:*} on $host: "
  sure attempt "$1"
  echo "$1: exit code $code after $took ms; checkpoints: $(ls $run/run/checkpoints 2>/dev/null | tr '\n' ' ')"
  [ $took -lt 10000 ] || say "$1: took $took ms"
  if [ "$2" = any ]; then [ $code -ne 0 ] && [ $code -ne 124 ] && [ $code -ne 125 ]; else [ $code -eq "$2" ]; fi || say "$1: exit code $code"
  [[ $1 = *collective:NaN* ]] && who="rank [0-2] on $host: " # a gradient is everyone's
  lines=$(grep -c "^pneuma: $who" $out)
  [ "$lines" -eq 1 ] || say "$1: $lines lines of the rank"
  grep -qE "^pneuma: $who.*$3" $out || say "$1: no line with '$3'"
  [ -z "${4-}" ] || grep -qE "$4" $out || say "$1: no line with '$4'"
  [ -f $run/run/run.json ] && say "$1: the run was over before the fault"
  resume "$1"
}

inject() { # as `one`, several at a time: most of it is mpirun that waits
  while [ "$(jobs -pr | wc -l)" -ge 3 ]; do wait -n; done
  run=case.${1//:/.}
  out=$run/out.txt
  mkdir $run
  one "$@" &
}

goes_on='unset PN_FAULT; train.resume=true goes on from the last checkpoint'
# error: the rank says it; the others follow.  No number: the training starts again.
for at in open open:2 read:2 read:6 allocate allocate:4 collective:20 collective:45 checkpoint checkpoint:3; do
  inject "1:${at%%:*}:error$(grep -o ':.*' <<<"$at")" 1 "at site ${at%%:*}, visit .*$goes_on"
done
# Rank 0 writes the tensors (16 and 2 more visits a checkpoint), the manifest, and makes it visible.
for when in 1 20 26 27 28 29 60; do inject "0:checkpoint:error:$when" 1 "at site checkpoint.*$goes_on"; done

for at in open read:6 allocate:2 collective:45; do
  for kind in exit kill; do inject "1:${at%%:*}:$kind$(grep -o ':.*' <<<"$at")" any "at site ${at%%:*}, .*$goes_on"; done
done
for when in 1 26 27 28 40; do inject "0:checkpoint:kill:$when" any "at site checkpoint, .*$goes_on"; done
inject 0:checkpoint:exit:27 any "at site checkpoint, .*$goes_on"

# A rank that sleeps: the others' watchdogs end the job.
for at in open read:6 allocate:2 collective:45 checkpoint:2; do
  inject "1:${at%%:*}:sleep$(grep -o ':.*' <<<"$at")" 4 "at site ${at%%:*}, .*$goes_on" \
    "^pneuma: rank [02] \(host $host\): stuck [2-3] s in .*; late: rank 1 \(host $host: .*run.watchdog_s"
done

# A rank that is late, but comes: it is named with its step and collective, and nothing is lost.
run=case.late out=case.late/out.txt
mkdir $run
PN_FAULT=1:read:sleep=4:6 train out.path=$run/run run.watchdog_s=6 || say "late: exit code $?"
grep -qE "^pneuma: warning: rank 0 \(host $host\) has waited [3-5]\.[0-9] s in collective #[0-9]+ .*late: rank 1 \(host $host: step 6, last seen in collective #[0-9]+ .* ago\)" \
  $out || say 'the late rank is not named'
[ "$(sha $run/run)" = "$want" ] || say 'late: other weights'

# Not a number: nothing of it is kept.
inject 1:read:NaN:6 1 'loss of step .* not finite, first seen in input; the last good checkpoint is .*/checkpoints/step_[1-9]'
inject 0:checkpoint:NaN:40 1 'checkpoint.*is not written: .* the checkpoint before it stays'
inject 1:collective:NaN:6 1 '(is not finite|is not written).*checkpoint'
wait
run=. out=out.txt

# A collective of ingest fails on one rank: no other collective may follow, the job ends.
for when in 1 4 7; do
  rm -rf never-shards
  PN_FAULT=1:collective:error:$when launch 30 3 "$PNEUMA" ingest phantom never-shards --size 32 --quiet >out.txt 2>&1
  [ $? -eq 1 ] && grep -qE "^pneuma: rank 1 on $host: .*error at site collective, visit $when;" out.txt || say "ingest, collective $when"
done

for text in nonsense 1:read 3:read:error 1:write:error 1:read:burn 1:open:NaN 1:read:error:0 1:read:error:2:3 1:read:sleep=x; do
  PN_FAULT=$text "$PNEUMA" train run.yaml out.path=never >out.txt 2>&1
  [ $? -eq 2 ] && grep -q "^pneuma: PN_FAULT=$text with 1 ranks: expected rank:site:kind\[:when\]; site: open, read" out.txt ||
    say "PN_FAULT=$text is not refused"
done
[ -e never ] && say 'a refused PN_FAULT left a folder'
[ ! -e failed.txt ]
