#!/bin/bash
# test_precision.sh -- train.precision=bf16: refused with the ways out where the processor lacks it, f32 only when told to; where
# it is there: trains by every strategy, is what run.json and info say, goes on bit by bit, and eval and predict take it from the run.
set -u
. "$SOURCE_DIR/tests/lib.sh"
refuse() { "$@" > out.txt 2> err.txt && say "$*: was taken"; }
narrow() { env ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2 "$@"; }

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 16, filters2: 32, hidden: 16, dropout: 0.3}\ntrain: {batch: 8, epochs: 2, threads: 1}\ndata: {path: shards}\n' > run.yaml

# f32 cannot be asked of a device that has nothing else, and not on a narrow processor
refuse "$PNEUMA" train run.yaml out.path=run-ref train.device=ref train.precision=bf16
has err.txt 'train.precision=bf16: device ref has no fast bf16 here: it computes in f32 only; take train.precision=f32'
"$PNEUMA" info 2> /dev/null | grep -q 'oneDNN' || exit $((failures > 0))
refuse narrow "$PNEUMA" train run.yaml out.path=run-narrow train.precision=bf16
has err.txt 'no bf16 instructions .*train.precision=f32.*train.precision_fallback=true'
refuse narrow "$PNEUMA" info custom_cnn train.precision=bf16
has err.txt 'no bf16 instructions'
must narrow "$PNEUMA" train run.yaml out.path=run-told train.precision=bf16 train.precision_fallback=true
has err.txt 'train.precision=bf16 is missing.*f32 instead'
has run-told/run.json '"precision": "f32"'

if ! "$PNEUMA" info custom_cnn train.precision=bf16 > out.txt 2> err.txt; then
  has err.txt 'no bf16 instructions'
  [ $failures -eq 0 ] && echo "this processor has no bf16: only the refusal is shown" && exit 0
  exit 1
fi
has out.txt 'training, .* threads?, bf16'
has out.txt 'acdb bf16'

must "$PNEUMA" train run.yaml out.path=run-f32
for strategy in ddp zero1 fsdp; do
  must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-$strategy train.strategy=$strategy train.precision=bf16
  has run-$strategy/run.json '"precision": "bf16"'
  [ "$(sha run-$strategy)" = "$(sha run-ddp)" ] || say "$strategy: other weights than ddp"
done
[ "$(sha run-ddp)" = "$(sha run-f32)" ] && say "bf16 computes in f32"
# the same bits at 1 and 2 ranks where asked for
must "$PNEUMA" train run.yaml out.path=run-e1 train.precision=bf16 train.exact=true
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-e2 train.precision=bf16 train.exact=true
[ "$(sha run-e1)" = "$(sha run-e2)" ] || say "exact sums: other weights on 2 ranks"

# stopped in the middle of an epoch, and resumed without naming the precision again
must "$PNEUMA" train run.yaml out.path=run-whole train.precision=bf16
must "$PNEUMA" train run.yaml out.path=run-cut train.precision=bf16 train.steps=5 train.checkpoint_steps=5
must "$PNEUMA" train --resume out.path=run-cut train.steps=0
has run-cut/run.json '"precision": "bf16"'
[ "$(sha run-cut)" = "$(sha run-whole)" ] || say "resumed: other weights"

# evaluation in the run's precision, or another when told to
must "$PNEUMA" eval run-whole --json
grep -o '"loss": [0-9.e-]*' out.txt | head -n 1 > bf16.txt
grep -o '"loss": [0-9.e-]*' run-whole/run.json | tail -n 1 > run.txt
must "$PNEUMA" eval run-whole --json train.precision=f32
grep -o '"loss": [0-9.e-]*' out.txt | head -n 1 > f32.txt
cmp -s bf16.txt f32.txt && say "eval in f32 and bf16 give the same loss to the last digit: $(cat f32.txt)"
refuse narrow "$PNEUMA" eval run-whole
has err.txt 'no bf16 instructions'
must narrow "$PNEUMA" eval run-whole train.precision=f32
must "$PNEUMA" predict run-whole phantom/*/*.dcm
finish precision
