#!/bin/bash
# One rank's copy of the data is broken: the whole job ends, in time, with exit code 1 and one line
# that says which file.  Ranks 0 and 1 start in good/, rank 2 in bad/; the command is the same.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
rm -rf phantom good bad run
mkdir good
. "$SOURCE_DIR/tests/lib.sh"

"$PNEUMA" synth phantom synth.images=24 synth.seed=3 >synth.txt 2>&1 || { cat synth.txt; exit 1; }
"$PNEUMA" ingest phantom good/shards ingest.size=256 ingest.shard_mb=1 >ingest.txt 2>&1 ||
  { cat ingest.txt; exit 1; }
last=$(cd good/shards && ls shard-*.h5 | tail -n 1)
if [ "$last" = shard-00000.h5 ]; then echo "FAILED: the data has one shard only"; exit 1; fi

fresh() { # fresh MODE: a new bad/, and what the expectations are about
  mode=$1
  rm -rf bad run
  cp -r good bad
}

train() { sure attempt "$@"; } # [key=value...]

attempt() {
  local start=$SECONDS
  local args=(train data.path=shards "out.path=$WORK_DIR/run" train.epochs=2 train.batch=6
    train.device=ref model.filters1=2 model.filters2=2 model.hidden=4 train.threads=1 --quiet "$@")
  # a shell per rank picks the folder: two app contexts with --wdir crash Open MPI 5.0.7's mpirun
  rm -rf run
  launch 60 3 bash -c '
    if [ "$OMPI_COMM_WORLD_RANK" = 2 ]; then cd "$1/bad"; else cd "$1/good"; fi
    shift
    exec "$@"' rank "$WORK_DIR" "$PNEUMA" "${args[@]}" >"out.$mode" 2>&1
  code=$?
  took=$((SECONDS - start))
  echo "$mode: exit code $code after $took s"
}

one_line_says() {
  test "$(grep -c '^pneuma:' "out.$mode")" -eq 1 && grep -qE -- "^pneuma:.*$1" "out.$mode"
}

fresh whole # nothing is broken: the way of starting works
train
expect "trains" test $code -eq 0
expect "writes its files" test -f run/run.json

fresh missing
rm "bad/shards/$last"
train
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with rank and file" one_line_says "rank 2.*$last"
expect "leaves no run" test ! -e run/run.json

fresh short
truncate -s 1000 "bad/shards/$last"
train
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with rank and file" one_line_says "rank 2.*$last"

fresh folder # no data at all on that host
rm -r bad/shards
train
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with rank and the way out" one_line_says "rank 2.*pneuma ingest"

fresh pixels # seen in the middle of a step: the others wait for gradients that will not come
for f in bad/shards/shard-*.h5; do
  head -c 400000 /dev/zero | tr '\0' '\252' | dd of="$f" bs=1000 seek=60 conv=notrunc status=none
done
train
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with rank, file and cause" one_line_says "rank 2.*shard-.*damaged"

fresh ahead # the same, found by a thread that reads ahead
for f in bad/shards/shard-*.h5; do
  head -c 400000 /dev/zero | tr '\0' '\252' | dd of="$f" bs=1000 seek=60 conv=notrunc status=none
done
train data.prefetch=2 data.threads=2
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with rank, file and cause" one_line_says "rank 2.*shard-.*damaged"
expect "the ranks leave together" test "$(grep -ci 'MPI_ABORT' out.ahead)" -eq 0

finish shard_open
