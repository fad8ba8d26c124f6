#!/bin/bash
# test_bench_train.sh -- `pneuma bench train`: speed, phases, memory and start-up, at 1 and 2 ranks.
set -u
. "$SOURCE_DIR/tests/lib.sh"
small="model.size=32 train.batch=8 train.threads=1 bench.steps=7"

check() { # RANKS STRATEGY
  python3 - "$1" << 'EOF' || say "$1 ranks, $2: the JSON is wrong"
import json, sys
ranks = int(sys.argv[1])
(row,) = json.load(open("out.json"))["rows"]
assert {"pneuma", "commit", "compiler", "mpi", "onednn"} <= set(json.load(open("out.json"))["versions"])
assert row["model"] == "custom_cnn" and row["precision"] == "f32" and row["peer"] is None
assert row["ranks"] == ranks == len(row["cores"]) and row["threads"] == 1 and all(row["cores"])
assert row["batch"] == 8, "a global batch is split"
t = row["step_ms"]
assert 0 < t["ci95"][0] <= t["median"] <= t["ci95"][1] and t["median"] <= t["p95"]
assert abs(row["images_per_s"] - 8e3 / t["median"]) < 1e-6 * row["images_per_s"]
p = row["phases_ms"]
assert set(p) == {"data", "forward", "backward", "comm", "update"} and min(p.values()) >= 0
assert p["forward"] > 0 and p["backward"] > 0 and p["update"] > 0
assert p["comm"] == 0 or ranks > 1
assert row["peak_bytes"] - row["before_bytes"] > 4 * 500000 * 4, "parameters, gradients, two states"
assert 0 < row["first_step_begins_s"] <= row["first_step_ends_s"] < 60
EOF
}

"$PNEUMA" bench train $small --json > out.json 2> err.txt || say "1 rank: exit code $?: $(cat err.txt)"
check 1 single
for strategy in ddp zero1 fsdp; do
  "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" bench train $small train.strategy=$strategy --json > out.json 2> err.txt ||
    say "$strategy: exit code $?: $(cat err.txt)"
  check 2 $strategy
done

"$PNEUMA" bench train $small optim.name=sgd optim.momentum=0.9 > out.txt 2> err.txt || say "text: exit code $?"
has out.txt '^custom_cnn, sgd, 8 images a step, f32'
has out.txt '^  pneuma [0-9.]+, commit [0-9a-z-]+, .*; .*MPI'
has out.txt 'rank 0 on .*, cpus [0-9,-]+: 1 thread$'
has out.txt '^[0-9.]+ images/s: step '
has out.txt 'start-up: first step begins [0-9.]+ s'

grep -q '^device:' out.txt && say 'a line about a device with memory of its own'

# the device cuda's own code: on a GPU its figures are those of events
tiny="model.size=16 model.filters1=4 model.filters2=4 model.hidden=8 train.batch=4 train.threads=1 bench.steps=3 train.device=emulated"
"$PNEUMA" bench train $tiny > out.txt 2> err.txt || say "emulated: exit code $?: $(cat err.txt)"
has out.txt '^custom_cnn, adam, 4 images a step, f32, emulated$'
has out.txt '^device: idle [0-9.]+ % of the time, host [0-9.]+ us a step; a step is one graph$'
"$PNEUMA" bench train $tiny --json | python3 -c 'import json, sys
(row,) = json.load(sys.stdin)["rows"]
assert row["graph"] is True and 0 <= row["gpu_idle_percent"] <= 100 and row["host_us_per_step"] > 0' || say 'emulated: the JSON is wrong'
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" bench train $tiny train.strategy=zero1 > out.txt 2> err.txt || say "emulated, zero1: exit code $?"
has out.txt '^device: a step is not one graph: gradients travel through host memory$'
for o in "train.precision=fp16 train.loss_scale=1e9" "train.strategy=zero1 optim.name=lars" "train.strategy=fsdp train.precision=fp16"; do
  "$PNEUMA" bench train $tiny $o > out.txt 2> err.txt || say "emulated, $o: exit code $?: $(cat err.txt)"
  has out.txt '^device: .*; a step is one graph$'
done

"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" bench train $small train.strategy=single > out.txt 2> err.txt &&
  say 'single on 2 ranks was accepted'
"$PNEUMA" bench train train.steps=3 > out.txt 2> err.txt
[ $? = 2 ] || say 'train.steps: exit code is not 2'
has err.txt 'train.steps has no effect on bench train'
for o in optim.ema=0.99 optim.clip_norm=1 'optim.groups=nothing*:lr=3' optim.scale=linear optim.momentum=0.9; do
  "$PNEUMA" bench train $small "$o" > out.txt 2> err.txt && say "$o was accepted"
  has err.txt "${o%%=*} has no effect"
done
# what is printed is the precision that was computed in
if "$PNEUMA" bench train $small train.precision=bf16 > out.txt 2> err.txt; then
  has out.txt '^custom_cnn, adam, 8 images a step, bf16'
else
  has err.txt 'no bf16 instructions|has no fast bf16'
fi
finish bench_train
