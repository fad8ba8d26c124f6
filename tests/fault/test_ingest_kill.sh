#!/bin/bash
# test_ingest_kill.sh -- `kill -9` of one rank or of all at 20 random moments, with 3 ranks; the same
# command, at another number of ranks, ends with the bytes of a run that nobody disturbed.  And two
# processes that ingest to the same place: one refuses, and says what to do.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
. "$SOURCE_DIR/tests/lib.sh"
need_dcmtk
RANDOM=${SEED:-$$} # SEED=N repeats a run
echo "seed ${SEED:-$$}"

rm -rf phantom whole out ./*.txt
"$PNEUMA" synth phantom synth.images=160 synth.seed=7 >synth.txt 2>&1 || { cat synth.txt; exit 1; }
: >phantom/stage_2_train_images/empty.dcm # an event, so that the journal has one
"$PNEUMA" ingest phantom whole --size 96 >whole.txt 2>&1 || { cat whole.txt; exit 1; }

ingest() { # ingest RANKS: to out/, in the background, its mpirun in $job
  "$MPIEXEC" -n "$1" --bind-to none "$PNEUMA" ingest phantom out --size 96 --quiet --json >"$2" 2>&1 &
  job=$!
}

compare() { # what is published is what an undisturbed run gives, and nothing else lies there
  diff -r whole out >diff.txt || { say "$1: $(head -3 diff.txt)"; cat diff.txt; }
}

settle() { # mpirun of Open MPI 4.1 hangs at times when all its ranks die at once: not ours to mend
  for _ in $(seq 500); do kill -0 $job 2>/dev/null || break; sleep 0.01; done
  # shellcheck disable=SC2046
  kill -9 $job $(ranks_of $job) 2>/dev/null
  wait $job 2>/dev/null
  code=$?
}
ranks_of() { pgrep -P "$1" -x pneuma; }
pieces() { ls out/.ingest/0* 2>/dev/null | grep -vc '\.tmp'; } # a kill may leave the temporary file of one

# With index.json a data set is complete; without it nobody reads what is there.
check_published() {
  if [ -e out/index.json ]; then
    for f in whole/*; do cmp -s "$f" "out/${f#whole/}" || say "$1: index.json, but ${f#whole/} differs"; done
  elif [ -e out ] && [ $((kills % 5)) = 0 ] && "$PNEUMA" train data.path=out train.steps=1 out.path="$WORK_DIR/never" >never.txt 2>&1; then
    say "$1: half an ingest was trained on"
  fi
}

taken_over() { sed -n 's/.*"resumed_pieces": \([0-9]*\).*/\1/p' "$1"; }

kills=0 resumed=0 kept=0
while [ $kills -lt 20 ]; do
  ingest 3 "kill.txt"
  for _ in $(seq 500); do # from the moment that there is something to disturb
    [ -e out/.ingest.lock ] && break
    sleep 0.01
  done
  sleep "$(printf '0.%03d' $((RANDOM % 200)))"
  victims=$(ranks_of $job)
  [ $((RANDOM % 2)) = 0 ] && victims=$(echo "$victims" | shuf -n 1 --random-source=<(yes $RANDOM))
  # shellcheck disable=SC2086
  [ -n "$victims" ] && kill -9 $victims 2>/dev/null
  settle
  kills=$((kills + 1))
  check_published "kill $kills"
  if [ -e out/index.json ]; then
    [ $code -ne 0 ] && resumed=$((resumed + 1))
  elif [ $((RANDOM % 3)) = 0 ]; then
    continue # killed again, in the middle of the second try
  fi
  there=$(pieces)
  n=$((1 + RANDOM % 4))
  ingest $n resume.txt
  wait $job || say "kill $kills: the same command with $n ranks: $(cat resume.txt)"
  resumed=$((resumed + 1))
  if grep -q '"already_complete": false' resume.txt; then
    kept=$((kept + there))
    [ "$(taken_over resume.txt)" = "$there" ] ||
      say "kill $kills: $there pieces were finished, $(taken_over resume.txt) taken over"
  fi
  compare "after kill $kills, resumed with $n ranks"
  rm -rf out
done
[ -e out ] && { ingest 2 resume.txt; wait $job; compare 'at the end'; }
echo "$kills kills, $resumed runs completed afterwards, $kept pieces taken over"
[ $kept -gt 0 ] || say 'no kill came between two pieces: the test tested nothing'

# A journal or a shard that is damaged, as after a power cut: the piece is done again.
rm -rf out
ingest 3 kill.txt
for _ in $(seq 500); do [ "$(pieces)" -ge 6 ] && break; sleep 0.005; done
# shellcheck disable=SC2046
kill -9 $(ranks_of $job) 2>/dev/null
settle
if [ -e out/index.json ]; then
  echo 'the damage test came too late: not run'
else
  first=$(ls out/.ingest/0* | head -1)
  printf 'XXXX' | dd of="$first" bs=1 seek=300 conv=notrunc status=none
  truncate -s 100 "$(ls out/.ingest/0* | sed -n 2p)"
  : >"$(ls out/.ingest/0* | sed -n 3p)"
  printf 'XXXX' | dd of="$(ls out/shard-* | sed -n 4p)" bs=1 seek=9000 conv=notrunc status=none
  truncate -s 4096 "$(ls out/shard-* | sed -n 5p)"
  there=$(pieces)
  ingest 2 resume.txt
  wait $job || say "damaged pieces: $(cat resume.txt)"
  [ "$(taken_over resume.txt)" = $((there - 5)) ] || say "damaged: $(taken_over resume.txt) of $there taken over"
  compare 'after damage'
fi

# Two at once.  The first is stopped, so that it surely is at work.
rm -rf out
ingest 2 first.txt
for _ in $(seq 500); do [ -s out/.ingest.lock ] && break; sleep 0.01; done
# shellcheck disable=SC2046
kill -STOP $(ranks_of $job)
"$PNEUMA" ingest phantom out --size 96 >second.txt 2>&1
[ $? = 2 ] || say "the second ingest: exit code is not 2: $(cat second.txt)"
grep -qE 'another ingest \(process [0-9]+ on .*wait for it, or choose another folder' second.txt ||
  say "the second ingest says: $(cat second.txt)"
# shellcheck disable=SC2046
kill -CONT $(ranks_of $job)
wait $job || say "the first ingest: $(cat first.txt)"
compare 'two at once'

# The lock of a job on another host: not taken, but the message says how.
rm -rf out
mkdir out
echo '4711 far-away' >out/.ingest.lock
"$PNEUMA" ingest phantom out --size 96 >far.txt 2>&1
[ $? = 2 ] || say "another host's lock: exit code is not 2"
grep -qE 'process 4711 on far-away.*remove out/.ingest.lock and give the same command again' far.txt ||
  say "another host's lock: $(cat far.txt)"
[ "$(cat out/.ingest.lock)" = '4711 far-away' ] || say "another host's lock was touched"
rm out/.ingest.lock
"$PNEUMA" ingest phantom out --size 96 --quiet >far.txt 2>&1 || say "after its removal: $(cat far.txt)"
compare 'after a stale lock'

# Files that vanish during the job are rejected by name; the account holds.
rm -rf out gone
cp -r phantom gone
"$MPIEXEC" -n 3 --bind-to none "$PNEUMA" ingest gone out --size 96 --json >gone.json 2>gone.txt &
job=$!
for _ in $(seq 500); do [ -s out/.ingest.lock ] && break; sleep 0.005; done
# shellcheck disable=SC2046
kill -STOP $(ranks_of $job)
vanish=$(ls gone/stage_2_train_images | tail -3)
(cd gone/stage_2_train_images && echo "$vanish" | xargs rm)
# shellcheck disable=SC2046
kill -CONT $(ranks_of $job)
wait $job || say "vanished files: $(cat gone.txt)"
for f in $vanish; do grep -q "$f.*file_vanished" out/rejects.csv || say "$f vanished, rejects.csv does not say so"; done
grep -q '"listed": 161' gone.json || say "vanished files: $(cat gone.json)"
grep -q '"rejected": 4' gone.json || say "vanished files: $(cat gone.json)"
finish ingest_kill
