#!/bin/bash
# test_emulated.sh -- the device cuda's own code, its kernels run by the CPU in memory that nothing else can touch: a run trains as
# on `ref`, every strategy gives the same weights, a resumed run ends where a whole one does.
set -u
failures=0
say() { echo "FAILED: $*"; failures=$((failures + 1)); }
has() { grep -qE -- "$2" "$1" || say "no '$2' in $1: $(head -c 800 "$1")"; }
must() { "$@" > out.txt 2> err.txt || { say "$*: exit code $?: $(tail -n 3 err.txt)"; exit 1; }; }
sha() { grep -o '"weights_sha256": "[0-9a-f]*"' "$1/run.json"; }
ranks() { n=$1; shift; must "$MPIEXEC" -n "$n" --oversubscribe --bind-to none "$PNEUMA" "$@"; }

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 24 --seed 5
must "$PNEUMA" ingest phantom shards --size 32
printf 'model: {filters1: 4, filters2: 6, hidden: 8, dropout: 0.3}\ntrain: {batch: 4, epochs: 2, threads: 1}\noptim: {weight_decay: 0.01, ema: 0.9}\naugment: {hflip: 0.5}\ndata: {path: shards}\n' > run.yaml
for d in ref emulated; do must "$PNEUMA" train run.yaml train.device=$d out.path=run-$d; done
has run-emulated/run.json '"device": "emulated"'

# losses of all steps agree to rounding
join -t, <(cut -d, -f1-4 run-ref/steps.csv | tail -n +2) <(cut -d, -f1-4 run-emulated/steps.csv | tail -n +2) > both.csv
[ "$(wc -l < both.csv)" -ge 8 ] || say "too few steps: $(cat both.csv)"
head -n 1 run-ref/steps.csv | cut -d, -f1-4 > columns.txt
awk -F, -v want="$(head -n 1 run-ref/steps.csv)" 'BEGIN {split(want, name, ","); for (i = 1; i <= 4; i++) if (name[i] == "loss") c = i; if (!c) exit 1}
  {d = $c - $(c + 3); if (d < 0) d = -d; if (d > 2e-4) {print "loss differs: " $0; bad = 1}} END {exit bad}' both.csv || say 'emulated trains otherwise than ref'

# the strategies know nothing of the device's memory
for s in ddp zero1 fsdp; do
  ranks 2 train run.yaml train.device=emulated train.strategy=$s train.comm=shm out.path=run-$s
  [ "$(sha run-$s)" = "$(sha run-ddp)" ] && [ -n "$(sha run-$s)" ] || say "$s: other weights than ddp"
done
must "$PNEUMA" train run.yaml train.device=emulated train.epochs=1 out.path=run-half
must "$PNEUMA" train run.yaml train.device=emulated --resume out.path=run-half
[ "$(sha run-half)" = "$(sha run-emulated)" ] || say 'another end after a resume'
must "$PNEUMA" eval run-emulated data.path=shards

# batch norms, additions, global pooling: a residual network
for d in ref emulated; do
  must "$PNEUMA" train model.name=resnet18 data.path=shards train.batch=4 train.steps=2 train.validate=false train.threads=2 train.device=$d out.path=run-resnet-$d
done
awk -F, 'NR == 1 {next} FNR == 1 {file++; next} {loss[file + 0, $1] = $4} END {for (t = 1; t <= 2; t++) {d = loss[0, t] - loss[1, t]; if (d < 0) d = -d
  if (d > 1e-3 || !loss[0, t]) {print "resnet18, step " t ": " loss[0, t] ", " loss[1, t]; exit 1}}}' run-resnet-ref/steps.csv run-resnet-emulated/steps.csv || say 'resnet18 trains otherwise on emulated'
[ $failures = 0 ]
