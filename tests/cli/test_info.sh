#!/bin/bash
# test_info.sh -- `pneuma info`: machine, model, plan; as text and as JSON; on one rank and on two.
set -u
. "$SOURCE_DIR/tests/lib.sh"

"$PNEUMA" info > machine.txt 2> err.txt || say "info: exit code $?"
for word in '^pneuma [0-9.]+, commit' 'mpi +[A-Z]' 'nccl +(NCCL 2|built in|none)' 'hdf5 +HDF5 1\.' 'jansson +jansson 2' 'SIMD +[A-Za-z]' '^ +0 .* [0-9]+$'; do
  has machine.txt "$word"
done
grep -q 'parameters' machine.txt && say 'info without argument talks of a model'

"$PNEUMA" info custom_cnn > model.txt 2> err.txt || say "info custom_cnn: exit code $?: $(cat err.txt)"
for word in '8,407,681 parameters' 'conv1 +conv .*320 ' 'fc1 .*8,388,736' '^ +1  forward .*conv1' 'backward .*conv1' '[0-9] MiB'; do
  has model.txt "$word"
done

# parameters: c1*k*k + c1 + c1*c2*k*k + c2 + flat*h + h + h + 1, flat = (size/4)^2 * c2
"$PNEUMA" info custom_cnn model.filters1=4 model.filters2=8 model.hidden=16 model.size=32 --json > small.json 2> err.txt ||
  say "info small: exit code $?: $(cat err.txt)"
expected=$((4 * 9 + 4 + 4 * 8 * 9 + 8 + 8 * 8 * 8 * 16 + 16 + 16 + 1))
has small.json "\"parameters\": $expected,"
for field in model flop_per_image plan isa hosts ranks warnings versions; do has small.json "\"$field\":"; done
for field in step op pass device implementation layout bytes flop; do has small.json "^ {6}\"$field\":"; done
for field in rank host cores numa threads gpu; do has small.json "^ {6}\"$field\":"; done
[ "$(head -n 1 small.json)" = '{' ] && [ "$(grep -c '^[{}]' small.json)" = 2 ] || say 'stdout is not one JSON object'

# the other networks: the known counts; running statistics count in Keras's and not in PyTorch's; other classes and channels
parameters() { # EXPECTED MODEL KEYS...
  "$PNEUMA" info "${@:2}" train.batch=1 --json > net.json 2> err.txt || say "info ${*:2}: $(cat err.txt)"
  has net.json "\"parameters\": $1,"
}
parameters 1253290 cifar_cnn
parameters 11689512 resnet18
parameters $((23564800 + 2048 * 128 + 128 + 128 + 1)) resnet50v2
parameters $((11689512 - 64 * 49 * 2 - 513 * 1000 + 513 * 7)) resnet18 model.channels=1 model.classes=7 model.size=64
parameters $((11689512 + 513 * 4000)) resnet18 model.classes=5000 model.size=64
parameters $((1253290 + 32 * 9 * 2 - 513 * 10 + 513 * 3)) cifar_cnn model.channels=5 model.classes=3
parameters $((23564800 - 64 * 49 * 2 + 2048 * 128 + 128 + 129 * 4)) resnet50v2 model.channels=1 model.classes=4 model.size=64
"$PNEUMA" info resnet50v2 train.batch=1 model.size=64 > net.txt 2> err.txt || say "info resnet50v2: $(cat err.txt)"
for word in '^layer +kind +output +parameters +forward' 'conv1_conv +conv +64 x 32 x 32 +9,472 .*FLOP' 'post_bn +norm .* 8,192' 'dense_1 +dense +1 +129 '; do
  has net.txt "$word"
done

# the slow reference shows the same model
"$PNEUMA" info custom_cnn train.device=ref train.batch=2 model.size=16 > ref.txt 2> err.txt || say "info ref: $(cat err.txt)"
has ref.txt 'forward .* ref +ref '

# a configuration: its options decide; data that is not there yet is a warning
printf 'model: {filters1: 2, filters2: 2, hidden: 3}\ntrain: {batch: 4, epochs: 2}\noptim: {lr: 0.01}\ndata: {path: not-there}\n' > c.yaml
"$PNEUMA" info c.yaml > config.txt 2> err.txt || say "info c.yaml: exit code $?: $(cat err.txt)"
has config.txt 'training, 4 images'
has config.txt 'conv1 +conv .* 20 '
has err.txt 'no data in not-there yet'

# two ranks: both in the map, half of the batch each
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" info custom_cnn model.size=32 train.batch=9 > two.txt 2> err.txt || say "2 ranks: $(cat err.txt)"
has two.txt '^ +0 '
has two.txt '^ +1 '
has two.txt 'training, 5 images'
[ "$(grep -c '^pneuma ' two.txt)" = 1 ] || say 'two ranks speak'

# run.place: a machine that hwloc makes up shows where ranks would go; here, mpirun's binding contradicts a wish
HWLOC_SYNTHETIC='package:2 [numa] l3:4 core:4 pu:2' "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" info run.place=l3 > place.txt 2> err.txt || say "place: $(cat err.txt)"
has place.txt '^ +[^ ]+ +2 +2 +2 +8 +32 +64$'
has place.txt '^ +0 +[^ ]+ +0-7 +4 +4 +0$'
has place.txt '^ +1 +[^ ]+ +32-39 +4 +4 +1$'
if [ "$(nproc)" -gt 1 ] && ! lscpu | grep -q 'Core(s) per socket: *1$'; then
  "$MPIEXEC" -n 1 --bind-to core "$PNEUMA" info run.place=socket > place.txt 2> err.txt || say "place: $(cat err.txt)"
  has place.txt 'run.place=socket wants cpus .* but the launcher bound it to .* --bind-to none'
fi
HWLOC_SYNTHETIC='package:2 core:4 pu:1' "$PNEUMA" info run.place=l3 > place.txt 2> err.txt && say 'l3 without an L3 was accepted'
has err.txt 'hwloc sees no L3 caches'

# a device that is known but not built in says how to get it
"$PNEUMA" info custom_cnn train.device=cuda > out.txt 2> err.txt
rc=$?
[ $rc = 1 ] || say "cuda: exit code $rc, expected 1"
[ "$(grep -c '^pneuma: ' err.txt)" = 1 ] || say "cuda: expected one line: $(cat err.txt)"

finish info
