#!/bin/bash
# test_augment.sh -- augment.*, data.* and preview through the command line: the sheet, the same training at any way of reading and any number of ranks.
set -u
. "$SOURCE_DIR/tests/lib.sh"
refused() { # refused MESSAGE COMMAND...
  "${@:2}" > out.txt 2> err.txt
  local rc=$?
  [ $rc = 2 ] || say "${*:2}: exit code $rc, expected 2"
  has err.txt "$1"
}

rm -rf phantom shards run-* ./*.png
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 24
cat > run.yaml <<X
model: {filters1: 3, filters2: 4, hidden: 8}
train: {batch: 8, epochs: 2, threads: 1, device: ref, validate: false}
data: {path: shards}
augment: {hflip: 0.5, rotate: 10, zoom: 0.1, translate: 0.1, shear: 5, brightness: 0.1, contrast: 0.2,
  gamma: 0.2, noise: 0.05, cutout: 0.2, mixup: 0.4}
X

# the sheet: a PNG of the size it says, the same again and on two ranks, another with another seed
must "$PNEUMA" preview run.yaml preview.images=3 preview.epochs=4 out.path=a.png --json
has out.txt '"file": "a.png"'
[ "$(od -An -tx1 -N4 a.png | tr -d ' ')" = 89504e47 ] || say 'a.png is no PNG'
[ "$(od -An -tu1 -j16 -N8 a.png | tr -s ' ')" = " 0 0 0 144 0 0 0 88" ] || say "size of a.png: $(od -An -tu1 -j16 -N8 a.png)"
must mpi 2 "$PNEUMA" preview run.yaml preview.images=3 preview.epochs=4 out.path=b.png
has out.txt 'augment.mixup=0.4'
cmp -s a.png b.png || say 'two previews of one configuration differ'
must "$PNEUMA" preview run.yaml preview.images=3 preview.epochs=4 out.path=b.png train.seed=2
cmp -s a.png b.png && say 'the seed does not change the preview'
must "$PNEUMA" preview data.path=shards
[ -s preview.png ] || say 'no preview.png'
has out.txt 'no augment.\* option is set'

# one way of reading or another: the same weights; no augmentation: others
must "$PNEUMA" train run.yaml out.path=run-0 --quiet
n=0
for reading in data.prefetch=1 'data.prefetch=3 data.threads=3' data.check=always 'data.check=never train.threads=2'; do
  n=$((n + 1))
  must "$PNEUMA" train run.yaml out.path=run-$n $reading --quiet
  [ "$(sha run-$n)" = "$(sha run-0)" ] || say "$reading changes the weights"
done
must "$PNEUMA" train run.yaml augment.mixup=0 out.path=run-plain --quiet
[ "$(sha run-plain)" = "$(sha run-0)" ] && say 'mixup changes nothing'

# the first step sees the same images at any number of ranks: its loss agrees to rounding
loss() { awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "loss") c = i } NR == 2 { print $c }' "$1/steps.csv"; }
must mpi 3 "$PNEUMA" train run.yaml out.path=run-3ranks data.prefetch=2 --quiet
awk -v a="$(loss run-0)" -v b="$(loss run-3ranks)" 'BEGIN { d = a - b; exit !(a > 0 && d < 1e-5 && d > -1e-5) }' ||
  say "loss of step 1: $(loss run-0) on one rank, $(loss run-3ranks) on three"

refused 'needs images of three channels' "$PNEUMA" train run.yaml out.path=run-x augment.jitter=0.1
refused 'augment.hflip' "$PNEUMA" train run.yaml out.path=run-x augment.hflip=1.5
refused 'no effect with data.prefetch=0' "$PNEUMA" train run.yaml out.path=run-x data.threads=2
refused 'augment.fill has no effect' "$PNEUMA" preview data.path=shards augment.fill=black
refused 'augment.fill has no effect' "$PNEUMA" train data.path=shards out.path=run-x augment.fill=black
finish augment
