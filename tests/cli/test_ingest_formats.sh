#!/bin/bash
# test_ingest_formats.sh -- what ingest stores with 3 channels, 16 bits or another shape can be verified,
# trained on by two ranks.
set -u
. "$SOURCE_DIR/tests/lib.sh"
need_dcmtk
rm -rf phantom set.* run.*
"$PNEUMA" synth phantom --images 32 --seed 3 > log.txt 2>&1 || say "synth: $(cat log.txt)"
for format in '8 3 stretch 64' '16 1 crop 64x48' '16 3 letterbox 48x64'; do
  read -r bits channels fit size <<< "$format"
  out=$bits.$channels
  "$PNEUMA" ingest phantom "set.$out" --size "$size" ingest.bits="$bits" ingest.channels="$channels" ingest.fit="$fit" > log.txt 2>&1 ||
    say "ingest $format: $(cat log.txt)"
  "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" verify "set.$out" > log.txt 2>&1 || say "verify $format: $(cat log.txt)"
  "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train data.path="set.$out" train.steps=2 train.batch=8 out.path="run.$out" > log.txt 2>&1 ||
    say "train $format: $(tail -5 log.txt)"
  grep -qE "model +[a-z_]+, ${size%x*} x ${size#*x} x $channels" log.txt || say "train $format: $(head -3 log.txt)"
  grep -qE 'epoch 1: loss [0-9]+\.[0-9]+' log.txt || say "train $format: $(tail -30 log.txt)"
done
finish ingest_formats
