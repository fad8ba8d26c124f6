#!/bin/bash
# test_exact.sh -- train.exact: the same bits on 1, 2, 3, 4 and 8 ranks, whoever has what: weights, losses of all steps, metrics of all
# epochs; with augmentation, dropout, batch norm, norms, averages, and a last batch of another size; after a kill, on other ranks too.
# PN_EXACT_ALL=1: every strategy on 1, 2, 3, 4 and 8 ranks with every model; half an hour instead of minutes.
set -u
. "$SOURCE_DIR/tests/lib.sh"
# what does not depend on the clock: losses and metrics
facts() { cut -d, -f1-4 "$1/steps.csv"; cut -d, -f1-9 "$1/epochs.csv"; }
same() { # RUN REFERENCE
  [ -n "$(sha "$1")" ] && [ "$(sha "$1")" = "$(sha "$2")" ] || say "$1: other weights than $2"
  [ "$(facts "$1")" = "$(facts "$2")" ] || say "$1: $(diff <(facts "$1") <(facts "$2") | head -n 5)"
}
train() { ranks "$1" train "${@:2}"; } # RANKS OPTIONS...

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
cat > run.yaml << 'EOF'
train: {batch: 12, epochs: 2, exact: true, device: onednn}
optim: {weight_decay: 0.01}
augment: {hflip: 0.5, rotate: 10, mixup: 0.3}
data: {path: shards}
EOF

# MODEL OPTIONS -- RANKS:STRATEGY...
check() {
  local name=$1 options=() run
  shift
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  [ -z "${PN_EXACT_ALL:-}" ] || set -- {1,2,3,4,8}:{ddp,zero1,fsdp}
  train 1 run.yaml "${options[@]}" out.path="run-$name"
  [ "$(cut -d, -f3 "run-$name/steps.csv" | sed 1d | sort -u | wc -l)" = 2 ] || say "$name: the last batch is full: the test is too easy"
  for run in "$@"; do
    train "${run%:*}" run.yaml "${options[@]}" train.strategy="${run#*:}" out.path="run-$name-$run"
    same "run-$name-$run" "run-$name"
    echo "$name $run: $(sha "run-$name-$run")"
  done
}

small=(model.filters1=8 model.filters2=12 model.hidden=8 model.dropout=0.3)
check cnn "${small[@]}" -- 1:ddp 1:zero1 1:fsdp 2:ddp 2:zero1 2:fsdp 3:ddp 3:zero1 3:fsdp 4:ddp 4:zero1 4:fsdp 8:ddp 8:zero1 8:fsdp
has err.txt '^ +exact: SHA-256 of the weights [0-9a-f]{64}$'
# norms over all ranks, an average, weighted samples, another number of leaves, other transport
check norms "${small[@]}" optim.clip_norm=0.1 optim.ema=0.9 train.balance=weights train.leaves=5 train.comm=mpi -- 3:ddp 2:zero1 4:fsdp
check lars "${small[@]}" optim.name=lars optim.lr=0.1 optim.clip_norm=0.5 -- 2:ddp 3:zero1 3:fsdp
check cifar model.name=cifar_cnn optim.ema=0.9 train.leaves=5 -- 1:fsdp 2:ddp 3:zero1 4:ddp 8:fsdp
check resnet model.name=resnet18 train.batch=16 -- 2:ddp 3:zero1 4:fsdp 8:ddp

# the reference can tell: an ordinary run has other bits on other ranks, and exact sums are a choice
train 1 run.yaml "${small[@]}" train.exact=false train.threads=1 out.path=run-plain-1
train 3 run.yaml "${small[@]}" train.exact=false train.threads=1 out.path=run-plain-3
[ "$(sha run-plain-1)" != "$(sha run-plain-3)" ] || say 'ordinary runs on 1 and 3 ranks have the same bits: the test cannot fail'

# killed on some ranks, resumed on others
interrupt() { # RANKS RUN OPTIONS...
  local n=$1 run=$2 try job
  shift 2
  for try in 1 2 3 4 5 6 7 8; do
    rm -rf "$run" pids
    "$MPIEXEC" -n "$n" --oversubscribe --bind-to none sh -c 'echo $$ >> pids; exec "$0" "$@"' "$PNEUMA" train run.yaml "$@" out.path="$run" train.checkpoint_steps=1 > out.txt 2> err.txt &
    job=$!
    while [ ! -d "$run/checkpoints/step_2" ] && kill -0 $job 2> /dev/null; do :; done
    # shellcheck disable=SC2046
    kill -KILL $(cat pids 2> /dev/null) 2> /dev/null
    wait $job 2> /dev/null
    [ -f "$run/run.json" ] || return
  done
  say "$run: it was always complete before it could be killed"
}
again() { # RANKS:STRATEGY RANKS:STRATEGY REFERENCE OPTIONS...
  local from=$1 to=$2 ref=$3
  shift 3
  interrupt "${from%:*}" "run-$ref-$from-$to" "$@" train.strategy="${from#*:}"
  train "${to%:*}" --resume out.path="run-$ref-$from-$to" train.strategy="${to#*:}"
  has err.txt '^resume +step [0-9]+ of '
  same "run-$ref-$from-$to" "run-$ref"
}
again 3:ddp 2:zero1 cnn "${small[@]}"
again 2:fsdp 8:ddp cnn "${small[@]}"
again 4:zero1 1:single resnet model.name=resnet18 train.batch=16

# what would change the bits is refused
"$PNEUMA" train --resume out.path=run-cnn train.epochs=3 train.threads=2 > out.txt 2> err.txt && say 'other threads were accepted'
has err.txt 'give train.threads=1'
"$PNEUMA" train run.yaml train.batch_rule=local out.path=run-no > out.txt 2> err.txt && say 'a batch per rank was accepted'
has err.txt 'train.batch_rule=global'
"$PNEUMA" train run.yaml train.exact=false train.leaves=4 out.path=run-no > out.txt 2> err.txt && say 'leaves without exact sums were accepted'
has err.txt 'no effect without train.exact=true'
finish exact
