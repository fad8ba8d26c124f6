#!/bin/bash
# test_record.sh -- what a run leaves in its folder: CSV columns, run.json, log, plots, TensorBoard events; a run that explodes.
set -u
# shellcheck disable=SC2086
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 24
printf 'model: {filters1: 3, filters2: 4, hidden: 8}\ntrain: {batch: 8, epochs: 3, threads: 1}\nschedule: {name: cosine}\ndata: {path: shards}\n' > run.yaml
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-1

has run-1/epochs.csv '^epoch,loss,val_loss,val_accuracy,val_precision,val_recall,val_f1,val_auc,lr,images_per_s,seconds,data_s,forward_s,backward_s,comm_exposed_s,comm_hidden_s,comm_late_s,update_s,peak_bytes$'
has run-1/steps.csv '^step,epoch,images,loss,data_ms,forward_ms,backward_ms,comm_exposed_ms,comm_hidden_ms,comm_late_ms,update_ms,step_ms,lr$'
awk -F, 'NF != 19 { exit 1 } NR > 1 && !($19 > 1e6 && $11 > 0) { exit 1 }' run-1/epochs.csv || say "epochs.csv: $(cat run-1/epochs.csv)"
awk -F, 'NF != 13 { exit 1 }' run-1/steps.csv || say "steps.csv: $(head -n 3 run-1/steps.csv)"
# the phases of an epoch are the sums of its steps
awk -F, 'NR == FNR { if (FNR > 1) s[$2] += $6 / 1000; next } FNR > 1 { d = $13 - s[$1]; if (d > 1e-5 || d < -1e-5) exit 1 }' run-1/steps.csv run-1/epochs.csv ||
  say 'forward_s of an epoch is not the sum of its steps'
awk -F, 'NR == 2 { first = $13 } END { exit !(first == 0.001 && $13 < 0.0002) }' run-1/steps.csv || say "cosine, but lr: $(cut -d, -f13 run-1/steps.csv | tr '\n' ' ')"
for field in data_digest versions commit machine host best monitor test confusion weights_sha256; do has run-1/run.json "\"$field\":"; done
has run-1/log.txt '^20[0-9-]+T[0-9:]+Z epoch 3: loss [0-9.]+; val: loss'
has run-1/log.txt 'Z strategy +ddp on 2 ranks'

if command -v gnuplot > /dev/null; then
  for plot in curves confusion; do
    [ "$(head -c 8 run-1/$plot.png | od -An -tx1 | tr -d ' \n')" = 89504e470d0a1a0a ] || say "$plot.png is no PNG"
    has run-1/$plot.svg '<svg'
  done
else
  [ -s run-1/curves.gp ] || say 'no curves.gp'
  has err.txt 'no gnuplot'
fi

# TensorBoard's own reader sees the numbers of the CSV files
python=/opt/peer/bin/python
if [ -x $python ] && $python -c 'import tensorboard' 2> /dev/null; then
  must $python - run-1 << 'EOF'
import csv, struct, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
a.Reload()
f32 = lambda x: struct.unpack("f", struct.pack("f", float(x)))[0]
steps = list(csv.DictReader(open(sys.argv[1] + "/steps.csv")))
seen = [(e.step, e.value) for e in a.Scalars("loss/step")]
assert [s for s, _ in seen] == [int(r["step"]) for r in steps], seen
assert all(abs(v - float(r["loss"])) < 1e-6 for (_, v), r in zip(seen, steps)), seen
epochs = list(csv.DictReader(open(sys.argv[1] + "/epochs.csv")))
tags = {"loss/train": "loss", "loss/val": "val_loss", "val/accuracy": "val_accuracy", "val/recall": "val_recall", "val/auc": "val_auc"}
for tag, column in tags.items():
    values = [e.value for e in a.Scalars(tag)]
    assert len(values) == 3 and all(abs(v - float(r[column])) < 1e-5 for v, r in zip(values, epochs)), (tag, values)
print("tensorboard agrees")
EOF
  has out.txt 'tensorboard agrees'
else
  echo 'no tensorboard package: its reader was not asked (tests/unit/test_events.c checks the bytes)'
fi

# train.restore_best: with this min_delta the first epoch stays the best, and run.json tells of it; so does eval
must "$PNEUMA" train run.yaml out.path=run-4 train.restore_best=true train.min_delta=1000
has err.txt 'the weights of the best epoch, 1, are back'
has run-4/run.json '"restored": true'
loss() { grep -oE '"loss": [0-9.]+' "$1" | tail -n 1 | cut -c9-17; }
must "$PNEUMA" eval run-4 --json
[ "$(loss out.txt)" = "$(loss run-4/run.json)" ] || say "eval $(loss out.txt), run.json $(loss run-4/run.json)"
must "$PNEUMA" eval run-4 --json --checkpoint last
[ "$(loss out.txt)" != "$(loss run-4/run.json)" ] || say 'the last epoch is the first'
must "$PNEUMA" train run.yaml out.path=run-5 train.patience=1 train.min_delta=1000
has err.txt 'stopped early: val_loss has not improved on'
[ "$(wc -l < run-5/epochs.csv)" = 3 ] || say "patience 1: $(cat run-5/epochs.csv)"

# a run that explodes names step, layer and the checkpoint to go back to; that one is finite
boom='optim.name=sgd optim.lr=100 optim.weight_decay=10 train.epochs=9'
"$PNEUMA" train run.yaml out.path=run-2 train.keep_best=false $boom > out.txt 2> err.txt
rc=$?
[ $rc = 1 ] || say "exploding run: exit code $rc, expected 1"
has err.txt 'loss of step [0-9]+ is not finite, first seen in [a-z0-9+]+ \(forward\); there is no checkpoint yet'
has run-2/log.txt 'failed: .*is not finite'
# one step less: the losses are finite to the end, the answers of the network are not; no metrics are made of them
step=$(grep -oE 'loss of step [0-9]+' err.txt | head -n 1 | grep -oE '[0-9]+$')
"$PNEUMA" train run.yaml out.path=run-7 train.keep_best=false $boom train.steps=$((step - 1)) > out.txt 2> err.txt && say 'answers that are not finite were taken'
has err.txt "the evaluation after step $((step - 1)) failed; there is no checkpoint yet"
has err.txt 'evaluation on (val|test): the loss of image [0-9]+ is not finite, first seen in [a-z0-9+]+ \(forward\)'
# fsdp too, whose parameters are not all there at that moment
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-6 train.strategy=fsdp train.keep_best=false $boom > out.txt 2> err.txt && say 'fsdp did not explode'
has err.txt 'loss of step [0-9]+ is not finite, first seen in [a-z0-9+]+ \(forward\)'
must "$PNEUMA" train run.yaml out.path=run-3 optim.name=sgd train.epochs=1
"$PNEUMA" train --resume out.path=run-3 $boom > out.txt 2> err.txt && say 'it did not explode'
has err.txt 'is not finite, first seen in .*; the last good checkpoint is run-3/checkpoints/step_[0-9]+;'
must "$PNEUMA" eval run-3

finish record
