#!/bin/bash
# test_uneven.sh -- fewer images than ranks, batches that no number of ranks divides, splits without images, data without shards: the right
# result or a clear message, never a hang.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
. "$SOURCE_DIR/tests/lib.sh"
say() { echo "FAILED: $*"; tail -n 8 err.txt | sed 's/^/    /'; failures=$((failures + 1)); }
# on RANKS ARGS...: in time, or it is a failure
on() { launch 30 "$1" "$PNEUMA" "${@:2}" >out.txt 2>err.txt; code=$?; [ $code -lt 124 ] || say "$*: hangs, or mpiexec failed: $code"; }
refuses() { # refuses CODE TEXT ON_ARGS...
  on "${@:3}"
  [ $code -eq "$1" ] || say "${*:3}: exit code $code, expected $1"
  [ "$(grep -c '^pneuma:' err.txt)" -eq 1 ] && grep -qE "^pneuma: .*$2" err.txt || say "${*:3}: not one line with '$2'"
}
losses() { # of the epochs, and whether each is near those of the file
  grep -A100 '"epochs"' "$1/run.json" | grep -o '"loss": [0-9.e-]*' | head -n 4
}
near() { # the numbers of two runs differ by less than 1e-4
  paste <(losses "$1") <(losses "$2") | awk '{ d = $2 - $4; if (d < 0) d = -d; if (d > 1e-4) bad = 1 } END { exit bad || NR < 2 }'
}

rm -rf phantom few cells fold none empty noshards run-*
"$PNEUMA" synth phantom --images 12 --seed 4 >out.txt 2>err.txt || { say synth; exit 1; }
cat >run.yaml <<'Y'
model: {filters1: 4, filters2: 4, hidden: 16, padding: same}
optim: {name: sgd, lr: 0.05, momentum: 0.9}
train: {batch: 5, epochs: 4, threads: 1, device: ref, validate: false}
out: {plots: false}
Y

# 8 ranks, 12 images in 4 classes of shards; each rank has at most 2.
on 8 ingest phantom few --size 32 ingest.val=0 ingest.test=0
[ $code -eq 0 ] || say 'ingest by 8 ranks'
on 1 train run.yaml data.path=few out.path=run-1 train.strategy=single
[ $code -eq 0 ] || say 'one rank'
for what in ddp:3 ddp:8 zero1:3 zero1:8 fsdp:8; do
  run=run-${what/:/-}
  on "${what#*:}" train run.yaml data.path=few out.path="$run" train.strategy="${what%:*}"
  [ $code -eq 0 ] && near run-1 "$run" || say "$what: 5 images a step, the last step 2: $(losses "$run" | tr '\n' ' ')"
  grep -q 'Not evaluated' out.txt || say "$what: no word of the empty splits"
done
refuses 2 'no images in its split val .train 12, val 0, test 0.: .*eval.split' 3 eval run-ddp-3 eval.split=val
# 8 ranks validate and test on splits of 2 images; the same numbers as on one.
on 1 ingest phantom cells --size 32
on 8 train run.yaml data.path=cells train.validate=true out.path=run-cells
[ $code -eq 0 ] || say '2 images to validate on at 8 ranks'
for ranks in 1 8; do on $ranks eval run-cells --json; sed 's/"seconds.*//' out.txt >"cells-$ranks.txt"; done
cmp -s cells-1.txt cells-8.txt || say "evaluation differs: $(diff cells-1.txt cells-8.txt)"

# Everything in the test split: nothing to train on.
mkdir fold
cp phantom/stage_2_train_images/*.dcm fold
(echo path,label,fold; cd fold && ls ./*.dcm | awk '{ print $0 (NR % 2 ? ",normal,0" : ",sick,0") }') >fold/labels.csv
on 3 ingest fold none --size 32 ingest.test_fold=0
[ $code -eq 0 ] || say 'ingest of one fold'
refuses 2 'no images in its training split: .*another fold' 3 train run.yaml data.path=none out.path=run-none

# Nothing at all.
mkdir empty
refuses 2 'empty: not recognised .*expected' 3 ingest empty noshards
mkdir noshards 2>/dev/null
refuses 1 'pneuma ingest' 3 train run.yaml data.path=noshards out.path=run-no
tr -d '\n' <few/index.json | sed 's/"shards": *\[[^]]*\]/"shards": []/' >noshards/index.json
refuses 1 'noshards/index.json: .*ingest again' 3 train run.yaml data.path=noshards out.path=run-no
finish uneven
