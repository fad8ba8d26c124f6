#!/usr/bin/env bash
# tools/gpu_check.sh, dry on the CPU: one table, and a piece that fails is told without losing the others.
set -uo pipefail
. "$SOURCE_DIR/tests/lib.sh"
check=$SOURCE_DIR/tools/gpu_check.sh
export PN_BUILD=$BUILD_DIR

# without PyTorch: our figure stays
bash "$check" -d cpu -p f32 -k 128 -r 1 -m 'custom_cnn cifar_cnn' -y /bin/false > alone.txt 2>&1
[ $? -eq 1 ] || say 'no PyTorch, but not exit status 1'
has alone.txt '^network +batch type +img/s +PyTorch'
has alone.txt '^custom_cnn +2 f32 +[0-9.]+ .*no PyTorch: no PyTorch from'
has alone.txt '^cifar_cnn +4 f32 +[0-9.]+ '
has alone.txt 'a dry run on .cpu.'
has alone.txt '^network +type +host us/step +GPU idle %'
has alone.txt '^custom_cnn +f32 +no figure: the device cpu tells none'
has alone.txt '^== tests with label gpu'

# a network that there is not: its row says so, the other has its figure
bash "$check" -T -d cpu -p f32 -k 128 -r 1 -m 'nonsense custom_cnn' -y /bin/false > partly.txt 2>&1
[ $? -eq 1 ] || say 'a network that is unknown, but not exit status 1'
has partly.txt '^nonsense +no figure: '
has partly.txt '^custom_cnn +2 f32 +[0-9.]+ '

# no time: rows without figures, and an end
bash "$check" -T -d cpu -p f32 -t 4 -m 'resnet50v2' -y /bin/false > late.txt 2>&1
[ $? -eq 1 ] || say 'no time, but not exit status 1'
has late.txt '^resnet50v2 +no figure: no time left'
has late.txt '^gpu_check: [0-9]+ s'

# CIFAR-10, here played by phantoms: files are ingested, shards are used; seconds to an accuracy, or the best there was
rm -rf phantom shards
"$PNEUMA" synth phantom --images 40 --seed 5 > out.txt 2>&1 && "$PNEUMA" ingest phantom shards --size 32 > out.txt 2>&1 || say "data: $(cat out.txt)"
bash "$check" -T -d cpu -p f32 -m '' -y /bin/false -c phantom -g 0.01 > reached.txt 2>&1
[ $? -eq 0 ] || say 'an accuracy reached: exit status is not 0'
has reached.txt '^cifar_cnn, CIFAR-10 to 0.01: [0-9.]+ s of training, 1 epochs$'
bash "$check" -T -d cpu -p f32 -m '' -y /bin/false -c shards -g 1.01 > best.txt 2>&1
[ $? -eq 3 ] || say 'an accuracy missed: exit status is not 3'
has best.txt '^cifar_cnn, CIFAR-10 to 1.01: not reached: [01]\.[0-9]+ at best in 20 epochs, [0-9.]+ s$'
mkdir -p empty
bash "$check" -T -d cpu -p f32 -m '' -y /bin/false -c empty > empty.txt 2>&1
[ $? -eq 1 ] || say 'a folder without images: exit status is not 1'
has empty.txt '^cifar_cnn, CIFAR-10 to 0.83: no figure: '

# no such device in this build, or no GPU: every row says it
bash "$check" -T -d cuda -k 128 -r 1 -m 'custom_cnn' -y /bin/false > cuda.txt 2>&1
code=$?
if command -v nvidia-smi > /dev/null; then
  echo 'a GPU is here: run tools/gpu_check.sh itself'
else
  [ $code -eq 1 ] || say "no GPU, but exit status $code"
  has cuda.txt '^custom_cnn +no figure: .*(device|GPU|CUDA)'
fi
bash "$check" -x > /dev/null 2>&1
[ $? -eq 2 ] || say 'unknown option: exit status is not 2'

python=/opt/peer/bin/python
if [ -x $python ] && $python -c 'import torch' 2> /dev/null; then
  bash "$check" -T -d cpu -p f32 -k 128 -r 1 -m custom_cnn -y $python > both.txt 2>&1
  has both.txt '^custom_cnn +2 f32 +[0-9.]+ +[0-9.]+ PyTorch [^ ]+ (nchw|channels-last) +[0-9.]+ 1.5 (yes|missed)'
  # the modes of a GPU that a CPU can do too: eager, and what torch.compile makes of it where there is a compiler
  printf 'run eager 1\npeak\nquit\n' | $python "$SOURCE_DIR/tools/peer_train.py" --model custom_cnn --batch 2 \
    --modes eager,graphed > modes.txt 2> modes.err
  has modes.txt '^ready [^ ]+ [0-9]+ eager$'
  has modes.err 'no mode graphed: '
  [ "$(wc -l < modes.txt)" -eq 3 ] || say "answers: $(cat modes.txt)"
else
  echo 'PyTorch is not here: the row beside it is not checked'
fi
finish gpu_check
