#!/bin/bash
# test_strategies.sh -- ddp, zero1 and fsdp on one host sum in the same order: the same weights, bit for bit, with evaluation and
# checkpoints; a sharded run is resumed from its checkpoint; what cannot be done is refused.
set -u
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 8, filters2: 12, hidden: 16, dropout: 0.3}\ntrain: {batch: 4, epochs: 2, threads: 1, comm: shm}\noptim: {weight_decay: 0.01, ema: 0.9}\ndata: {path: shards}\n' > run.yaml

for n in 2 3; do
  for s in ddp zero1 fsdp; do
    ranks $n train run.yaml train.strategy=$s out.path=run-$s-$n
    has err.txt '^memory plan .*parameters [0-9.]+, gradients [0-9.]+, optimizer state [0-9.]+; over shm'
    has err.txt '^memory used '
    why='there is too little to choose from'
    [ $s != zero1 ] || why='on one host nothing is sent'
    [ $s = fsdp ] || has err.txt "^buckets +4 MiB \(default\): $why"
    [ "$(grep -c '"origin": "default",' <(sed -n '/"buckets"/,/}/p' run-$s-$n/run.json))" = "$([ $s = fsdp ] && echo 0 || echo 1)" ] || say "$s: buckets in run.json"
    has run-$s-$n/run.json '"comm_late": [0-9.e-]+'
    [ "$(sha run-$s-$n)" = "$(sha run-ddp-$n)" ] && [ -n "$(sha run-$s-$n)" ] || say "$s on $n ranks: other weights than ddp"
    # steps.csv ends where it should, and communication was measured
    [ "$(tail -n 1 run-$s-$n/steps.csv | cut -d, -f1-4)" = "$(tail -n 1 run-ddp-$n/steps.csv | cut -d, -f1-4)" ] || say "$s on $n ranks: another last loss"
    awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "comm_exposed_ms") c = i} NR == 3 {exit !($c > 0)}' run-$s-$n/steps.csv || say "$s: no communication in steps.csv"
    # the checkpoint is whole: one rank reads it, and gets the validated numbers
    must "$PNEUMA" eval run-$s-$n data.path=shards
    cp out.txt eval-$s-$n.txt
    diff <(sed 's/^run-[a-z0-9-]* //' eval-$s-$n.txt) <(sed 's/^run-[a-z0-9-]* //' eval-ddp-$n.txt) > /dev/null || say "$s on $n ranks: eval differs from ddp's"
  done
done

# half of the run, then the rest, without overlap: the same end
for s in zero1 fsdp; do
  ranks 2 train run.yaml train.strategy=$s train.epochs=1 train.overlap=false out.path=run-half-$s
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "comm_hidden_ms") c = i} NR > 1 && $c != 0 {exit 1}' run-half-$s/steps.csv || say "$s: hidden communication without overlap"
  ranks 2 train run.yaml train.strategy=$s --resume out.path=run-half-$s
  [ "$(sha run-half-$s)" = "$(sha run-ddp-2)" ] || say "$s: another end after a resume"
done

# a step in parts: fsdp shares each of them, ddp their sum; the losses of every step are the same to 1e-6 (fewer images than parts on the last)
for s in ddp fsdp; do
  ranks 3 train run.yaml train.batch=9 train.strategy=$s train.accumulate=2 train.epochs=1 out.path=run-parts-$s
done
losses() { awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "loss") c = i} NR > 1 {print $c}' "$1/steps.csv"; }
paste <(losses run-parts-ddp) <(losses run-parts-fsdp) | awk '{d = $1 - $2; if (d < 0) d = -d; if (!($1 > 0) || d > 1e-6 * $1) bad = 1} END {exit bad || NR < 3}' ||
  say "fsdp in parts: $(paste <(losses run-parts-ddp) <(losses run-parts-fsdp) | head -n 4)"
finish strategies
