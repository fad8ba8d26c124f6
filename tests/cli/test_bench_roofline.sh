#!/bin/bash
# test_bench_roofline.sh -- `pneuma bench roofline`: every step of the plan with its time, slowest first; refusals.
set -u
. "$SOURCE_DIR/tests/lib.sh"
small="model.size=32 train.batch=4 train.threads=1 bench.steps=3"

"$PNEUMA" bench roofline $small --json > out.json 2> err.txt || say "exit code $?: $(cat err.txt)"
"$PNEUMA" info custom_cnn model.size=32 train.batch=4 train.threads=1 --json > info.json 2> err.txt || say 'info'
python3 - << 'EOF' || say 'the JSON is wrong'
import json
r, info = json.load(open("out.json")), json.load(open("info.json"))
rows = r["rows"]
assert len(rows) == len(info["plan"]) + 1, "a row per step, and the update"
assert [x["op"] for x in rows if x["pass"] == "update"] == ["all parameters"]
assert sum(x["flop"] for x in rows) == sum(s["flop"] for s in info["plan"]) == r["flop"] > 0
times = [x["ms"] for x in rows]
assert times == sorted(times, reverse=True) and times[0] > 0
assert 0 < sum(times) <= 1.0001 * r["step_ms"], "each row's fastest: no more than a whole step"
assert r["model"] == "custom_cnn" and r["batch"] == 4 and r["threads"] == 1
assert r["bandwidth_GBps"] > 0.1
for x in rows:
    assert x["limit"] in ("FLOP", "bytes") and x["bytes"] > 0
    if r["peak_gflops"] > 0 and x["limit"] == "FLOP":
        least = x["flop"] / r["peak_gflops"] / 1e6
        assert abs(x["percent"] - 100 * least / x["ms"]) < 1e-6 * x["percent"] + 1e-9
EOF
"$MPIEXEC" -n 2 "$PNEUMA" bench roofline $small model.name=cifar_cnn > out.txt 2> err.txt || say "2 ranks: exit code $?"
has out.txt '^cifar_cnn, 2 images a step, 1 thread'
has out.txt 'GFLOP/s of multiply-adds, [0-9.]+ GB/s of memory'
has out.txt '^conv2.* backward '
has out.txt '^all parameters +update'

"$PNEUMA" bench roofline train.epochs=2 > out.txt 2> err.txt
[ $? = 2 ] || say 'train.epochs: exit code is not 2'
has err.txt 'train.epochs has no effect on bench roofline'
"$PNEUMA" bench roofline train.device=emulated > out.txt 2> err.txt
[ $? = 2 ] || say 'a device that is not the CPU: exit code is not 2'
has err.txt '^pneuma: bench roofline measures the limits of the CPU, not of emulated: expected train.device=cpu or ref'
"$PNEUMA" bench roofline model.name=tea > out.txt 2> err.txt
[ $? = 2 ] || say 'model tea: exit code is not 2'
finish bench_roofline
