#!/bin/bash
# test_transfer.sh -- a run starts from the weights of another run: all of them, all but the head, a frozen part; what does not
# fit is told and refused.
set -u
. "$SOURCE_DIR/tests/lib.sh"
refused() { # PATTERN OPTIONS...
  "$PNEUMA" train run.yaml out.path=bad "${@:2}" > out.txt 2> err.txt
  local rc=$?
  [ $rc = 0 ] && say "${*:2}: not refused"
  has err.txt "$1"
  rm -rf bad
}

rm -rf phantom shards first same head frozen ema from-ema folders turned kept fresh bad
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 48
printf 'model: {filters1: 8, filters2: 12, hidden: 8}\ntrain: {batch: 8, epochs: 2, threads: 1}\ndata: {path: shards}\nout: {plots: false}\n' > run.yaml

must "$PNEUMA" train run.yaml out.path=first
# nothing learned: the same weights to the bit, on 2 ranks too
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml train.weights=first optim.lr=0 out.path=same
has err.txt '^weights +first \(checkpoint of a run\): 8 of 8 parameters matched by name'
[ -n "$(sha same)" ] && [ "$(sha same)" = "$(sha first)" ] || say 'not the weights of the run'

must "$PNEUMA" train run.yaml train.weights=first 'train.weights_skip=fc2.*' train.seed=9 optim.lr=0 out.path=head
has err.txt '6 of 8 parameters matched by name'
has err.txt 'random values: fc2.weight: asked for by train.weights_skip'
[ "$(sha head)" != "$(sha first)" ] || say 'the head was taken over'

# another size of the hidden layer: the convolutions only; these stay as they are
must "$PNEUMA" train run.yaml train.weights=first model.hidden=10 'train.freeze=conv*' out.path=frozen
has err.txt 'random values: fc1.weight: shape 8x1728 in the file, 10x1728 in the model'
has err.txt '^frozen +4 of 8 parameter tensors'

# a run with averaged weights is known by them
must "$PNEUMA" train run.yaml optim.ema=0.9 out.path=ema
must "$PNEUMA" train run.yaml train.weights=ema optim.lr=0 out.path=from-ema
a=$(tail -n 1 ema/epochs.csv | cut -d, -f3) b=$(tail -n 1 from-ema/epochs.csv | cut -d, -f3)
[ -n "$a" ] && awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; exit !(d < 1e-5 && d > -1e-5) }' || say "validation loss $a of the averages, $b after loading them"

# the same images under another order of classes: eval refuses, a kept head is warned of, a new one is not
mkdir -p folders/normal folders/opacity
i=0
while read -r file; do
  [ $((i++ % 2)) = 0 ] && ln "$file" folders/normal || ln "$file" folders/opacity
done < <(find phantom -name '*.dcm')
must "$PNEUMA" ingest folders turned --size 48 ingest.only=opacity,normal
"$PNEUMA" eval first data.path=turned > out.txt 2> err.txt && say 'eval took the classes in another order'
has err.txt 'trained on the classes normal,opacity, turned has opacity,normal: .*ingest.only=normal,opacity'
must "$PNEUMA" train run.yaml data.path=turned train.epochs=1 train.weights=first out.path=kept
has err.txt 'learned the classes normal,opacity, the data has opacity,normal, and its last layer is kept'
must "$PNEUMA" train run.yaml data.path=turned train.epochs=1 train.weights=first 'train.weights_skip=fc2.*' out.path=fresh
grep -q 'learned the classes' err.txt && say 'warned of a head that is not kept'

refused 'holds no checkpoint' train.weights=shards
refused 'nowhere: No such file' train.weights=nowhere
refused 'neither a run nor a weight file' train.weights=run.yaml
refused "train.weights_skip: 'fc9.\*' matches no parameter" train.weights=first 'train.weights_skip=fc9.*'
refused 'conv1.weight: shape .* train.weights_missing=any' train.weights=first model.filters1=6

finish transfer
