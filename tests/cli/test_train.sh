#!/bin/bash
# test_train.sh -- the main path through the command line on a small set: synth, ingest, train, eval; files, JSON, origins.
set -u
. "$SOURCE_DIR/tests/lib.sh"

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 30 --seed 5
has out.txt 'images +30$'
must mpi 2 "$PNEUMA" ingest phantom shards --size 24
for word in 'listed +30 ' 'written +30$' 'rejected +0' 'train +[0-9]+ +images'; do has out.txt "$word"; done
[ -f shards/index.json ] || say 'no index.json'

printf 'model: {filters1: 3, filters2: 4, hidden: 8}\ntrain:\n  batch: 8\n  epochs: 9\ndata: {path: shards}\n' > run.yaml
must "$PNEUMA" train run.yaml --epochs 2 out.path=run-1
for word in 'train.batch += 8 +\(run.yaml:3\)' 'train.epochs += 2 +\(command line\)' 'data.path += shards +\(run.yaml:5\)' 'options at the default'; do
  has err.txt "$word"
done
for word in 'weights SHA-256 [0-9a-f]{64}$' 'Test: [0-9]+ images' 'truth ' 'forward +[0-9.]+ ms' 'parameters +[0-9.]+ [KM]?i?B' 'images/s'; do
  has out.txt "$word"
done
for f in run.json epochs.csv steps.csv; do [ -s run-1/$f ] || say "no run-1/$f"; done
has run-1/run.json '"train.batch"'
has run-1/run.json '"run.yaml:3"'
has run-1/run.json '"pneuma"'

# JSON: one object, the same weights for the same options
must "$PNEUMA" train run.yaml train.epochs=2 out.path=run-2 --json --quiet
[ -s err.txt ] && say "--quiet, but: $(cat err.txt)"
[ "$(head -n 1 out.txt)" = '{' ] && [ "$(grep -c '^[{}]' out.txt)" = 2 ] || say 'train --json: not one object'
for field in model parameters strategy ranks threads device precision global_batch epochs step_ms phases_ms peak_bytes weights_sha256 test options versions; do
  has out.txt "^  \"$field\":"
done
sha_in() { grep -o '"weights_sha256": "[0-9a-f]*"' "$1"; }
[ "$(sha_in out.txt)" = "$(sha_in run-1/run.json)" ] || say 'two runs of one configuration end with different weights'

# a folder in use is refused and left as it was
before=$(cksum run-1/run.json)
"$PNEUMA" train run.yaml out.path=run-1 > out.txt 2> err.txt
rc=$?
[ $rc = 2 ] || say "folder in use: exit code $rc, expected 2"
has err.txt 'out.path=run-1 is in use .* choose another folder'
[ "$before" = "$(cksum run-1/run.json)" ] || say 'run-1/run.json changed'

# eval: the numbers of the run, on one rank and on two, and on another split
must "$PNEUMA" eval run-1 --json
cp out.txt one.json
must mpi 2 "$PNEUMA" eval run-1 --json
cmp -s one.json out.txt || say "eval differs on 2 ranks: $(diff one.json out.txt)"
must "$PNEUMA" eval run-1 --split val
has out.txt 'run-1 on val of shards: [0-9]+ images'
must "$PNEUMA" eval run-1 data.path=shards eval.split=train
has out.txt 'run-1 on train of shards'

# two ranks: ddp by default
must mpi 2 "$PNEUMA" train run.yaml train.steps=3 train.epochs=0 out.path=run-3
has err.txt 'ddp on 2 ranks'
has out.txt ': 3 steps of 8 images'

# options that would have no effect
for pair in 'optim.momentum=0.9' 'optim.groups=fc*' 'optim.nesterov=true' 'train.strategy=single:ranks'; do
  option=${pair%%:*}
  mpi 2 "$PNEUMA" train run.yaml out.path=run-4 "$option" > out.txt 2> err.txt
  rc=$?
  [ $rc = 2 ] || say "$option on 2 ranks: exit code $rc, expected 2: $(cat err.txt)"
  [ "$(grep -c '^pneuma: ' err.txt)" = 1 ] || say "$option: expected one line: $(cat err.txt)"
done

# a refused configuration leaves its log; the folder is free for the corrected one
"$PNEUMA" train run.yaml train.steps=1 'train.freeze=*' out.path=run-4 > out.txt 2> err.txt && say 'nothing to train was accepted'
must "$PNEUMA" train run.yaml train.steps=1 train.epochs=0 out.path=run-4
has run-4/log.txt 'leaves nothing to train'
[ -s run-4/run.json ] || say 'no run in the folder of the refused one'

finish train
