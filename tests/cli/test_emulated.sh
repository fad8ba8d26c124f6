#!/bin/bash
# test_emulated.sh -- the device cuda's own code, its kernels run by the CPU in memory that nothing else can touch: a run trains as
# on `ref`, every strategy gives the same weights, a resumed run ends where a whole one does.
# DEVICE=cuda: the same on a GPU, two ranks sharing it.
set -u
D=${DEVICE:-emulated}
[ "$D" = emulated ] && most=2e-4 || most=2e-3
"$PNEUMA" info custom_cnn model.size=32 train.device=$D > out.txt 2> err.txt || { echo "SKIPPED: $(cat err.txt)"; exit 77; }
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom* shards* run-*
must "$PNEUMA" synth phantom --images 24 --seed 5
must "$PNEUMA" ingest phantom shards --size 32
printf 'model: {filters1: 4, filters2: 6, hidden: 8, dropout: 0.3}\ntrain: {batch: 4, epochs: 2, threads: 1}\noptim: {weight_decay: 0.01, ema: 0.9}\naugment: {hflip: 0.5}\ndata: {path: shards}\nout: {plots: false}\n' > run.yaml
for d in ref $D; do must "$PNEUMA" train run.yaml train.device=$d out.path=run-$d; done
has run-$D/run.json "\"device\": \"$D\""

# losses of all steps agree to rounding
join -t, <(cut -d, -f1-4 run-ref/steps.csv | tail -n +2) <(cut -d, -f1-4 run-$D/steps.csv | tail -n +2) > both.csv
[ "$(wc -l < both.csv)" -ge 8 ] || say "too few steps: $(cat both.csv)"
head -n 1 run-ref/steps.csv | cut -d, -f1-4 > columns.txt
awk -F, -v most=$most -v want="$(head -n 1 run-ref/steps.csv)" 'BEGIN {split(want, name, ","); for (i = 1; i <= 4; i++) if (name[i] == "loss") c = i; if (!c) exit 1}
  {d = $c - $(c + 3); if (d < 0) d = -d; if (d > most) {print "loss differs: " $0; bad = 1}} END {exit bad}' both.csv || say "$D trains otherwise than ref"

# no memory: what is asked, what fills it, what to lower
if [ "$D" = emulated ]; then
  PN_EMULATED_BYTES=300000 "$PNEUMA" train run.yaml train.batch=16 train.device=emulated out.path=run-small > out.txt 2> err.txt && say 'a run in no memory'
  has err.txt 'emulated: no memory for activations: .* asked, .* free; lower train.batch'
fi

# images all on the device, copied batch by batch, or made by the host: the same training, and its log says where they lie
images="augment.rotate=10 augment.noise=0.05 augment.mixup=0.2 augment.gamma=0.2 optim.ema=0 train.validate=false"
must "$PNEUMA" train run.yaml $images train.device=ref out.path=run-data-ref
for w in resident stream host; do
  must "$PNEUMA" train run.yaml $images train.device=$D device.images=$w data.prefetch=2 data.threads=2 out.path=run-data-$w
  cp err.txt log-$w.txt
  awk -F, -v most=$most 'FNR == 1 {file++; next} {loss[file, $1] = $4; n = $1} END {for (t = 1; t <= n; t++) {d = loss[1, t] - loss[2, t]; if (d < 0) d = -d; if (!(d < most)) exit 1} exit n < 8}' \
    run-data-ref/steps.csv run-data-$w/steps.csv || say "device.images=$w: other losses than ref: $(paste -d'\n' run-data-ref/steps.csv run-data-$w/steps.csv)"
done
has log-resident.txt '^images +resident: [0-9]+ images of 0.0 MiB, [0-9.]+ MiB of the device'
has log-stream.txt '^images +stream: '
grep -qE '^images +(resident|stream):' log-host.txt && say 'images on the device with device.images=host'
for w in resident stream; do has run-data-$w/run.json "\"where\": \"$w\""; done
[ "$(sha run-data-resident)" = "$(sha run-data-stream)" ] || say 'resident and streamed images give other weights'
"$PNEUMA" train run.yaml train.device=ref device.images=stream out.path=run-none > out.txt 2> err.txt && say 'device.images on a device without memory'
has err.txt 'device.images=stream: the device ref works in host memory'
# cut in the middle of an epoch, gone on with
must "$PNEUMA" train run.yaml $images train.device=$D device.images=stream train.steps=6 train.checkpoint_steps=3 out.path=run-cut
must "$PNEUMA" train run.yaml $images train.device=$D device.images=stream train.steps=0 train.resume=true out.path=run-cut
[ "$(sha run-cut)" = "$(sha run-data-stream)" ] || say 'another end after a cut in the middle of an epoch'
# an image that cannot be read, in the step that has it
PN_FAULT=0:read:error:3 "$PNEUMA" train run.yaml train.device=$D device.images=stream out.path=run-fault > out.txt 2> err.txt && say 'a batch that cannot be read'
has err.txt 'error at site read'

# where little is free: the training's images stay first, then those of the validation; whoever does not fit is streamed, and nothing else lacks room
if [ "$D" = emulated ]; then
  must "$PNEUMA" synth phantom-val --images 120 --seed 6
  must "$PNEUMA" ingest phantom-val shards-val --size 64 ingest.val=0.7 ingest.test=0.1
  choice() { # BYTES: where images of training, validation and test lie then
    rm -rf run-room
    PN_EMULATED_BYTES=$1 must "$PNEUMA" train run.yaml data.path=shards-val train.steps=1 train.device=emulated train.strategy=fsdp out.path=run-room
    python3 -c 'import json; d = json.load(open("run-room/run.json"))["device_images"]; print(*(x["where"] for x in (d, d["val"], d["test"])))'
  }
  [ "$(choice 1000000000)" = 'resident resident stream' ] || say "with much room: $(cat err.txt)"
  read -r others training < <(python3 -c 'import json; d = json.load(open("run-room/run.json"))["device_images"]; print(1000000000 - d["room_bytes"] * 8 // 7, d["device_bytes"] * 8 // 7)')
  [ "$(choice $((others + training - 8192)))" = 'stream stream stream' ] || say "with no room for the training's images: $(cat err.txt)"
  [ "$(choice $((others + training + 8192)))" = 'resident stream stream' ] || say "with room for the training's images: $(cat err.txt)"
  grep -qE '^val images +stream: ' err.txt || say 'no line for the images of the validation'
fi

# other rules, clipping: their kernels work on what stays on the device
for o in "sgd optim.momentum=0.9 optim.nesterov=true optim.clip_norm=0.5" "lars optim.momentum=0.9" "adamw optim.clip_norm=0.1"; do
  for d in ref $D; do must "$PNEUMA" train run.yaml optim.name=${o%% *} ${o#* } train.epochs=1 train.device=$d out.path=run-rule-$d; rm -rf run-rule-$d.csv; cp run-rule-$d/steps.csv run-rule-$d.csv; rm -r run-rule-$d; done
  awk -F, -v most=$most 'NR == 1 {next} FNR == 1 {file++; next} {loss[file + 0, $1] = $4; n = $1} END {d = loss[0, n] - loss[1, n]; if (d < 0) d = -d; exit !(n >= 4 && loss[0, n] > 0 && d < most)}' run-rule-ref.csv run-rule-$D.csv || say "$o: $(tail -n 1 run-rule-ref.csv) and $(tail -n 1 run-rule-$D.csv)"
done

# the strategies know nothing of the device's memory; weights to evaluate lie there whole, or are gathered and go up
has run-ref/epochs.csv '^epoch,loss,val_loss,'
agree() { # FILE COLUMN LEAST RUN RUN: to rounding
  awk -F, -v c=$2 -v least=$3 -v most=$most 'FNR == 1 {file++; next} {v[file, $1] = $c; n = $1} END {for (t = 1; t <= n; t++) {d = v[1, t] - v[2, t]; if (d < 0) d = -d; if (!(d < most) || !v[2, t]) exit 1} exit n < least}' "$4/$1" "$5/$1"
}
losses_agree() { agree steps.csv 4 8 "$1" "$2" && agree epochs.csv 3 2 "$1" "$2"; }
losses_agree run-ref run-$D || say "$D validates otherwise than ref: $(cat run-ref/epochs.csv run-$D/epochs.csv)"
for s in ddp fsdp; do
  must "$PNEUMA" train run.yaml train.device=$D train.strategy=$s out.path=run-alone-$s
  losses_agree run-$D run-alone-$s || say "$s on one rank: other losses than single"
done
for s in ddp zero1 fsdp; do
  ranks 2 train run.yaml train.device=$D device.share=true train.strategy=$s train.comm=shm out.path=run-$s
  [ "$(sha run-$s)" = "$(sha run-ddp)" ] && [ -n "$(sha run-$s)" ] || say "$s: other weights than ddp"
  losses_agree run-$D run-$s || say "$s on two ranks: other losses than single on one"
done
# steps in parts, of unequal numbers of images: gradients stay on the device, and an image that cannot be read ends the run in any part
parts="train.batch=7 train.accumulate=3"
for d in ref $D; do must "$PNEUMA" train run.yaml $parts train.device=$d train.epochs=4 out.path=run-parts-$d; done
agree steps.csv 4 8 run-parts-ref run-parts-$D || say "$D adds parts otherwise than ref: $(paste -d'\n' run-parts-ref/steps.csv run-parts-$D/steps.csv)"
for s in ddp zero1 fsdp; do
  ranks 2 train run.yaml train.batch=4 train.accumulate=3 train.device=$D device.share=true train.strategy=$s train.comm=shm out.path=run-parts-$s
  agree steps.csv 4 6 run-parts-ddp run-parts-$s || say "$s in parts: other losses than ddp"
done
PN_FAULT=0:read:error:5 "$PNEUMA" train run.yaml $parts train.device=$D out.path=run-fault-parts > out.txt 2> err.txt && say 'a part that cannot be read'
has err.txt 'error at site read'
must "$PNEUMA" train run.yaml train.device=$D train.epochs=1 out.path=run-half
must "$PNEUMA" train run.yaml train.device=$D --resume out.path=run-half
[ "$(sha run-half)" = "$(sha run-$D)" ] || say 'another end after a resume'
# evaluated on the images as they are and mirrored: the same answers to the last bit wherever the batches are made, those of ref to rounding
for flip in false true; do
  for w in host stream resident; do
    must "$PNEUMA" eval run-$D data.path=shards eval.split=train eval.flip=$flip train.device=$D device.images=$w eval.scores=scores-$w.csv
    [ $w = host ] || has err.txt "^images +$w: "
    cmp scores-host.csv scores-$w.csv || say "device.images=$w: other answers, eval.flip=$flip"
  done
  must "$PNEUMA" eval run-$D data.path=shards eval.split=train eval.flip=$flip train.device=ref eval.scores=scores-ref.csv
  awk -F, -v most=$most 'FNR == 1 {file++; next} {p[file, FNR] = $4; n = FNR} END {for (i = 2; i <= n; i++) {d = p[1, i] - p[2, i]; if (d < 0) d = -d; if (!(d < most) || !p[2, i]) exit 1} exit n < 10}' \
    scores-ref.csv scores-host.csv || say "$D answers otherwise than ref, eval.flip=$flip"
done
must "$PNEUMA" eval run-$D data.path=shards train.device=$D
has err.txt '^images +stream: '

# batch norms, additions, global pooling: a residual network
for d in ref $D; do
  must "$PNEUMA" train model.name=resnet18 data.path=shards train.batch=4 train.steps=2 train.validate=false train.threads=2 train.device=$d out.path=run-resnet-$d
done
awk -F, 'NR == 1 {next} FNR == 1 {file++; next} {loss[file + 0, $1] = $4} END {for (t = 1; t <= 2; t++) {d = loss[0, t] - loss[1, t]; if (d < 0) d = -d
  if (d > 1e-3 || !loss[0, t]) {print "resnet18, step " t ": " loss[0, t] ", " loss[1, t]; exit 1}}}' run-resnet-ref/steps.csv run-resnet-$D/steps.csv || say "resnet18 trains otherwise on $D"
finish emulated
