#!/bin/bash
# test_runtime_nccl.sh -- ranks with a GPU each on the made-up CUDA runtime and NCCL (tests/fake): every strategy with its transfers
# inside the graph of a step gives the losses of transfers by MPI, in either order of the streams; clipping, LARS and fp16 too.
set -u
run=$BUILD_DIR/tests/fake_gpu/fake_pneuma
[ -x "$run" ] || { echo 'SKIPPED: this build has no CUDA'; exit 77; }
export PNEUMA=$run LD_LIBRARY_PATH=$BUILD_DIR/tests/fake_gpu:$BUILD_DIR/tests/fake PN_CUDA_CACHE=$PWD/algorithms.txt FAKE_CUDA_GPUS=4
[ -e "$BUILD_DIR/tests/fake_gpu/libnccl.so.2" ] || { echo 'SKIPPED: this build has no NCCL'; exit 77; }
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom* shards* run-* "$PN_CUDA_CACHE"
must "$PNEUMA" synth phantom --images 24 --seed 5
must "$PNEUMA" ingest phantom shards --size 16
printf 'model: {filters1: 4, filters2: 6, hidden: 8, dropout: 0.3}\ntrain: {batch: 2, epochs: 2, threads: 1, device: cuda}\noptim: {weight_decay: 0.01, ema: 0.9}\ndata: {path: shards}\nout: {plots: false}\n' > run.yaml
losses() { # NAME RANKS OPTIONS...
  rm -rf "run-$1"
  ranks "$2" train run.yaml out.path="run-$1" "${@:3}"
  cut -d, -f1,2,4 "run-$1/steps.csv" > "$1.csv"
}
same() { # NAME NAME LEAST
  awk -F, -v least="$3" 'FNR == 1 {file++; next} {v[file, $1] = $3; n = $1} END {for (t = 1; t <= n; t++) {d = v[1, t] - v[2, t]; if (d < 0) d = -d; if (!(d < 2e-5) || !(v[1, t] > 0)) exit 1} exit n < least}' "$1.csv" "$2.csv" ||
    say "$1 and $2: $(paste "$1.csv" "$2.csv" | tail -n 3)"
}
for n in 2 3; do
  losses mpi $n train.comm=mpi train.strategy=ddp
  grep -q '^step,epoch,loss$' mpi.csv || say "columns: $(head -n 1 mpi.csv)"
  for s in ddp zero1 fsdp; do
    losses $s $n train.comm=nccl train.strategy=$s
    has err.txt '^memory plan .* over nccl$'
    same mpi $s 5
    FAKE_CUDA_ORDER=early losses $s-early $n train.comm=nccl train.strategy=$s
    same mpi $s-early 5
  done
done
for o in "optim.clip_norm=0.05" "optim.name=lars optim.momentum=0.9" "train.precision=fp16"; do
  losses mpi 2 train.comm=mpi train.strategy=zero1 $o
  for s in zero1 fsdp; do
    losses $s 2 train.comm=nccl train.strategy=$s $o
    same mpi $s 5
  done
done
for s in ddp zero1 fsdp; do
  ranks 2 bench train model.name=custom_cnn model.size=16 train.batch=2 train.device=cuda train.comm=nccl train.strategy=$s optim.name=lars bench.steps=4
  has out.txt 'a step is one graph'
done

# a study's rows on one GPU and on two; what the transfers inside a step cost nobody knows
printf 'data: {path: shards}\nmodel: {filters1: 4, filters2: 6, hidden: 8}\ntrain: {epochs: 1, threads: 1, device: cuda}\nstudy: {repeats: 1, steps: 3, rows: [{name: one, ranks: 1, batch: 4}, {name: two, strategy: ddp, ranks: 2, batch: 4}]}\n' > study.yaml
rm -rf run-study
ranks 2 study study.yaml out.path=run-study
[ "$(grep -c '"status": "ok"' run-study/study.json)" = 2 ] || say "rows that did not run: $(cat out.txt)"
[ "$(grep -o '"comm_exposed_share": [^,]*' run-study/study.json | tr '\n' ' ')" = '"comm_exposed_share": 0.0 "comm_exposed_share": null ' ] || say "shares: $(grep comm_exposed_share run-study/study.json)"
finish runtime_nccl
