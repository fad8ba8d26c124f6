#!/bin/bash
# test_resume_edges.sh -- runs that go on where it is easy to go wrong: longer than before and killed before the new result, with another
# number of images per rank under a scaled learning rate, complete but for its record.
set -u
. "$SOURCE_DIR/tests/lib.sh"
train() { "$PNEUMA" train run.yaml "$@" > out.txt 2> err.txt; }
steps() { grep -o '"steps": [0-9]*' "$1/run.json" | grep -o '[0-9]*'; }

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 24 --seed 3
must "$PNEUMA" ingest phantom shards --size 32
cat > run.yaml << 'Y'
data: {path: shards}
model: {filters1: 4, filters2: 4, hidden: 4, dropout: 0}
train: {batch: 4, epochs: 9, threads: 1}
out: {plots: false}
Y

# a run that goes on to more steps, killed in the evaluation after its last checkpoint: its former result is gone, and it can be ended
must "$PNEUMA" train run.yaml train.steps=2 out.path=run-more
killed=0
for n in 3 4 5 6 7 8; do # the first read after the last checkpoint
  rm -rf run-killed
  cp -r run-more run-killed
  PN_FAULT=0:read:kill:$n train train.steps=4 train.resume=true out.path=run-killed || [ ! -d run-killed/checkpoints/step_4 ] || { killed=1 && break; }
done
[ $killed = 1 ] || say "never killed after the last checkpoint: $(tail -n 3 err.txt)"
[ -e run-killed/run.json ] && say "the result of $(steps run-killed) steps is still there"
cp run-more/run.json run-killed/ # as it is where the kill comes before the first row
must "$PNEUMA" train run.yaml train.steps=4 train.resume=true out.path=run-killed
[ "$(steps run-killed)" = 4 ] || say "run.json tells of $(steps run-killed) steps"
train train.steps=4 train.resume=true out.path=run-killed
[ $? = 2 ] || say 'a complete run was started again'
has err.txt 'run-killed is complete'

# complete but for its record: the last loss is that of the checkpoint
must "$PNEUMA" train run.yaml train.steps=2 train.validate=false out.path=run-loss
loss=$(grep -o 'last loss.*' out.txt)
rm run-loss/run.json
must "$PNEUMA" train --resume out.path=run-loss
[ "$(grep -o 'last loss.*' out.txt)" = "$loss" ] || say "$loss, then $(grep -o 'last loss.*' out.txt)"

# optim.scale_batch=auto: the learning rate stays when the same images per step come from another number of ranks
scaled="optim.scale=linear train.batch_rule=local train.steps=2 out.path=run-scale"
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml $scaled
must "$PNEUMA" train --resume out.path=run-scale train.steps=4 train.batch=8 train.batch_rule=global
must "$PNEUMA" train --resume out.path=run-scale train.steps=6
[ "$(tail -n +2 run-scale/steps.csv | cut -d, -f13 | sort -u)" = 0.002 ] || say "learning rates: $(cut -d, -f1,13 run-scale/steps.csv)"

finish resume_edges
