#!/bin/bash
# test_one_rank.sh -- weights that one rank alone cannot read, each strategy: all leave at once, and the reason is told.
set -u
# shellcheck disable=SC2086
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 16 --seed 6
must "$PNEUMA" ingest phantom shards --size 24 ingest.val=0 ingest.test=0
small="data.path=shards model.filters1=4 model.filters2=4 model.hidden=8 train.batch=8 train.steps=1 train.epochs=0 train.threads=1 out.plots=false run.watchdog_s=30"
must "$PNEUMA" train $small out.path=run-good
cp -r run-good run-bad
# a place in the file where the numbers of a weight are: one rank alone says so
for percent in 30 10 35 25 40 15; do
  rm -rf run-bad run-alone
  cp -r run-good run-bad
  part=$(find run-bad -name part_0000.h5)
  printf 'UUUUUUUUUUUUUUUU' | dd of="$part" bs=1 seek=$(($(stat -c %s "$part") * percent / 100)) conv=notrunc status=none
  "$PNEUMA" train $small out.path=run-alone train.weights=run-bad > alone.txt 2>&1
  grep -q 'is damaged (CRC32C' alone.txt && break
done
has alone.txt 'is damaged \(CRC32C'

for strategy in ddp zero1 fsdp; do
  mode=$strategy start=$SECONDS
  "$MPIEXEC" -n 1 --bind-to none "$PNEUMA" train $small train.strategy=$strategy out.path=run-$strategy train.weights=run-good : \
    -n 1 "$PNEUMA" train $small train.strategy=$strategy out.path=run-$strategy train.weights=run-bad > out.$mode 2>&1
  code=$?
  expect "ended with $code" [ $code != 0 ]
  expect "took $((SECONDS - start)) s" [ $((SECONDS - start)) -lt 20 ]
  expect "does not say what is wrong" grep -qE 'is damaged .CRC32C' out.$mode
done
finish one_rank
