#!/bin/bash
# test_resume_edges.sh -- runs that go on where it is easy to go wrong: longer than before and killed before the new result, with another
# number of images per rank under a scaled learning rate, complete but for its record, in another precision, with a best epoch that was not kept.
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

# train.restore_best where the best epoch was not kept: refused before anything is trained
must "$PNEUMA" train run.yaml train.min_delta=100 train.keep_best=false train.keep=1 train.checkpoint_epochs=1 train.epochs=2 out.path=run-best
train --resume train.min_delta=100 train.epochs=3 train.restore_best=true out.path=run-best
[ $? = 2 ] || say "restore_best without its checkpoint: $(tail -n 3 err.txt)"
has err.txt 'run-best has no checkpoint of its best epoch so far, 1 .*give train.restore_best=false'
ls run-best/checkpoints | grep -qx "step_$(steps run-best)" || say "it trained: $(ls run-best/checkpoints)"

# another precision has other columns: the rows so far stay beside
half="train.device=emulated out.path=run-half"
must "$PNEUMA" train run.yaml $half train.steps=2 train.precision=f32
must "$PNEUMA" train --resume $half train.steps=4 train.precision=fp16
has err.txt 'steps.csv: other columns from now on .*run-half/steps-to-2.csv'
[ "$(cut -d, -f1 run-half/steps-to-2.csv | xargs)" = 'step 1 2' ] || say "steps-to-2.csv: $(cat run-half/steps-to-2.csv)"
[ "$(cut -d, -f1,15 run-half/steps.csv | xargs)" = 'step,skipped 3,0 4,0' ] || say "steps.csv: $(cat run-half/steps.csv)"

finish resume_edges
