#!/bin/bash
# test_single_values.sh -- batch norm of one value per channel: refused, or told where only the last step has it; with two it trains.
set -u
# shellcheck disable=SC2086
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 9 --seed 5
must "$PNEUMA" ingest phantom shards --size 16 ingest.val=0 ingest.test=0
rest="data.path=shards train.epochs=1 train.threads=1 train.validate=false out.plots=false"
small="$rest model.name=cifar_cnn model.width=4"
refuse() { # RANKS KEYS...
  "$MPIEXEC" -n "$1" --bind-to none "$PNEUMA" train $small out.path=run-no "${@:2}" > out.txt 2> err.txt && say "${*:2}: trained"
  has err.txt 'batch norm [a-z0-9_]+ has one value per image and channel'
  rm -rf run-no
}
refuse 1 train.batch=1
refuse 1 train.batch=4 train.accumulate=4
refuse 2 train.batch=2 train.batch_rule=global
refuse 1 train.batch=8 train.exact=true train.leaves=8
must "$PNEUMA" train $small out.path=run-last train.batch=4
has err.txt 'the last step of each epoch has a part of one image'
must "$PNEUMA" train $small out.path=run-even train.batch=4 train.last_batch=even
grep -q 'one value' err.txt && say 'an even last step was warned of'
must "$PNEUMA" train $small out.path=run-two train.batch=4 train.accumulate=2 train.last_batch=drop
# layers before the dense one see many values each: no reason to refuse
must "$PNEUMA" train $rest out.path=run-custom model.name=custom_cnn train.batch=1
finish single_values
