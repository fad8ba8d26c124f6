#!/bin/bash
# test_real_weights.sh -- random weights in files that the real torchvision (safetensors) and the real Keras (HDF5: a whole model, a
# *_notop.h5, a Sequential without telling names) wrote give the logits that the real networks give, to 1e-4, through train, checkpoint
# and predict.  Needs them: pip install --target DIR torchvision keras; PN_PEER_EXTRA=DIR (default /opt/peer-extra).
set -u
python=/opt/peer/bin/python here=$SOURCE_DIR/tests/peer
export PYTHONPATH=${PN_PEER_EXTRA:-/opt/peer-extra} KERAS_BACKEND=torch
failures=0
say() { echo "FAILED: $*"; failures=$((failures + 1)); }
has() { grep -qE -- "$2" "$1" || say "no '$2' in $1: $(head -c 1200 "$1")"; }
must() { "$@" > out.txt 2> err.txt || { say "$*: exit code $?: $(tail -n 3 err.txt)"; exit 1; }; }
there() { [ -x $python ] && $python -c "import h5py, numpy, PIL, torch, $1" 2> /dev/null; }

cases=()
there 'torchvision, safetensors' && cases+=(torchvision)
there keras && cases+=(keras keras_notop keras_cifar)
[ ${#cases[@]} -gt 0 ] || { echo 'skipped: no torchvision and no keras (see the head of this file)'; exit 77; }

rm -rf images* shards* run-* ./*.h5 ./*.safetensors ./*.csv
must $python "$here/real_weights.py" images
for side in 32 64; do must "$PNEUMA" ingest images$side shards$side --size $side ingest.channels=3 ingest.val=0 ingest.test=0; done

# CASE FILE MODEL SIDE FROZEN EXPECTED...: one step at rate 0 with frozen norms leaves the weights as they were loaded
check() {
  must $python "$here/real_weights.py" make "$1"
  must "$PNEUMA" train data.path="shards$4" model.name="$3" model.head=softmax train.weights="$2" "train.freeze=$5" optim.lr=0 train.steps=1 train.batch=8 train.validate=false out.plots=false out.path="run-$1"
  for word in "${@:6}"; do has err.txt "$word"; done
  must "$PNEUMA" predict "run-$1" images"$4"/*/*.png predict.out="$1.csv"
  must $python "$here/real_weights.py" compare "$1"
  cat out.txt
}
for case in "${cases[@]}"; do
  case $case in
    torchvision) check $case torchvision.safetensors resnet18 64 'conv1*,bn1*,layer*' 'safetensors.: 102 of 102 parameters matched by name' ;;
    keras) check $case keras.h5 resnet50v2 64 'conv*,post*' 'Keras HDF5.: 2[0-9]* of 2[0-9]* parameters matched by name' ;;
    keras_notop)
      check $case keras_notop.h5 resnet50v2 64 'conv*,post*' 'Keras HDF5.: 2[0-9]* of 2[0-9]* parameters matched by name' 'random values: dense.kernel: not in the file' ;;
    keras_cifar) check $case keras_cifar.h5 cifar_cnn 32 'conv*,bn1*,bn2*,bn3*' 'Keras HDF5.: 2[0-9] of 2[0-9] parameters matched by position' ;;
  esac
  rm -f ./*.h5 ./*.safetensors
done
[ $failures = 0 ] && echo 'real weights: all as expected'
exit $((failures > 0))
