#!/bin/bash
# test_half.sh -- bf16 and fp16 in the device cuda's own code, its kernels run by the CPU: networks train as in f32 to rounding; a
# step whose gradients overflow is skipped, told and counted, on all ranks alike; the scale of the loss goes on in a resumed run.
# DEVICE=cuda: the same on a GPU.
set -u
D=${DEVICE:-emulated}
"$PNEUMA" info custom_cnn model.size=32 train.device=$D > out.txt 2> err.txt || { echo "SKIPPED: $(cat err.txt)"; exit 77; }
. "$SOURCE_DIR/tests/lib.sh"
refuse() { "$@" > out.txt 2> err.txt && say "$*: was taken"; }
column() { awk -F, -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; if (!c) exit 1; next} {print $c}' "$1/steps.csv"; }
near() { # run run most [steps]: the losses of the first steps, or all
  paste -d, <(column "$1" loss) <(column "$2" loss) | head -n "${4:-1000}" | awk -F, -v most="$3" '{d = $1 - $2; if (d < 0) d = -d; if (!(d <= most)) bad = 1; n++} END {exit bad || n < 1}' \
    || say "$1 and $2 differ by more than $3: $(column "$1" loss | tr '\n' ' ') $(column "$2" loss | tr '\n' ' ')"
}

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 24 --seed 5
must "$PNEUMA" ingest phantom shards --size 32
printf 'model: {filters1: 8, filters2: 16, hidden: 8, dropout: 0.3}\ntrain: {batch: 4, epochs: 2, threads: 1}\ndata: {path: shards}\nout: {plots: false}\n' > run.yaml

for p in f32 bf16 fp16; do must "$PNEUMA" train run.yaml train.device=$D train.precision=$p out.path=run-$p; done
for p in bf16 fp16; do
  near run-f32 run-$p 0.01
  [ "$(sha run-$p)" = "$(sha run-f32)" ] && say "$p computes in f32"
  has run-$p/run.json "\"precision\": \"$p\""
done
column run-f32 loss_scale > /dev/null && say 'f32 scales its loss'
[ "$(column run-fp16 loss_scale | sort -u)" = 65536 ] || say "the scale starts otherwise: $(column run-fp16 loss_scale | sort -u)"
must "$PNEUMA" eval run-fp16 data.path=shards train.precision=f32
for model in cifar_cnn resnet18; do
  for p in f32 bf16 fp16; do
    must "$PNEUMA" train model.name=$model data.path=shards train.batch=4 train.steps=2 train.validate=false train.threads=2 train.device=$D \
      train.precision=$p train.loss_scale=256 optim.name=sgd optim.lr=0.001 out.plots=false out.path=run-$model-$p
  done
  near run-$model-f32 run-$model-bf16 0.06 1
  near run-$model-f32 run-$model-fp16 0.01 1
  most=0.05
  [ $model = resnet18 ] && most=0.5 # its last norms are over 4 numbers: any rounding moves them far
  near run-$model-f32 run-$model-bf16 $most
  near run-$model-f32 run-$model-fp16 $most
  column run-$model-fp16 skipped | grep -q 1 && say "$model: skipped at a scale of 256"
done

# a scale far too large: skipped until it fits, told and counted; the optimizer sees only the other steps
must "$PNEUMA" train run.yaml train.device=$D train.precision=fp16 train.loss_scale=2e7 train.loss_scale_steps=3 train.epochs=4 out.path=run-over
n=$(column run-over skipped | grep -c 1)
[ "$n" -ge 2 ] && [ "$n" -lt 14 ] || say "$n steps skipped"
[ "$(grep -c 'step [0-9]* skipped: gradients are not finite in fp16; loss scale' err.txt)" = "$n" ] || say "not every skipped step is told"
has run-over/run.json "\"skipped_steps\": $n"
paste -d, <(column run-over loss_scale) <(column run-over skipped) | awk -F, 'NR > 1 {want = skipped ? scale / 2 : good == 3 ? 2 * scale : scale; if ($1 != want) {print "step " NR ": " $1 ", expected " want; bad = 1}}
  {if (NR == 1 || $1 != scale) good = 0; scale = $1; skipped = $2; good = skipped ? 0 : good + 1} END {exit bad}' || say 'the scale does not follow the rules'

# cut among the skipped steps, resumed: the same end, so scale and count went on
must "$PNEUMA" train run.yaml train.device=$D train.precision=fp16 train.loss_scale=2e7 train.loss_scale_steps=3 train.epochs=4 train.steps=2 out.path=run-cut
must "$PNEUMA" train --resume out.path=run-cut train.steps=0
[ "$(sha run-cut)" = "$(sha run-over)" ] || say 'another end after a resume'
[ "$(column run-cut loss_scale)" = "$(column run-over loss_scale)" ] || say 'another scale after a resume'

# gone on with in f32: the optimizer does not count the skipped steps, as on ref
must "$PNEUMA" train run.yaml train.device=$D train.precision=fp16 train.loss_scale=2e7 train.epochs=4 train.steps=4 optim.lr=0.01 out.path=run-on
column run-on skipped | grep -q 1 || say 'nothing skipped before the precision changes'
cp -r run-on run-on-ref
must "$PNEUMA" train --resume out.path=run-on train.steps=0 train.precision=f32
must "$PNEUMA" train --resume out.path=run-on-ref train.steps=0 train.precision=f32 train.device=ref
near run-on-ref run-on 0.002

# the same in parts, with weights of the classes, which the loss has before it is scaled
for p in f32 fp16; do must "$PNEUMA" train run.yaml train.device=$D train.precision=$p train.accumulate=3 train.balance=weights out.path=run-parts-$p; done
near run-parts-f32 run-parts-fp16 0.01

# batches made by the host travel while it still waits for what the step before gives
must "$PNEUMA" train run.yaml train.device=$D train.precision=fp16 device.images=host out.path=run-host
near run-fp16 run-host 0.01

# several ranks agree on what is skipped, also where none has all gradients
for s in ddp zero1 fsdp; do
  must "$MPIEXEC" -n 2 --oversubscribe --bind-to none "$PNEUMA" train run.yaml train.device=$D device.share=true train.comm=shm train.strategy=$s \
    train.precision=fp16 train.loss_scale=2e7 out.path=run-$s
  [ "$(sha run-$s)" = "$(sha run-ddp)" ] && [ -n "$(sha run-$s)" ] || say "$s: other weights than ddp"
  [ "$(column run-$s skipped)" = "$(column run-ddp skipped)" ] || say "$s skips other steps than ddp"
done
column run-ddp skipped | grep -q 1 || say 'two ranks skip nothing'

# CPUs have no fp16
for d in ref cpu; do
  refuse "$PNEUMA" train run.yaml train.device=$d train.precision=fp16 out.path=run-$d
  has err.txt 'train.precision=fp16: device [a-z]* has no fast fp16 here: (it computes in f32 only|fp16 is for GPUs).*train.precision=f32'
done
finish half
