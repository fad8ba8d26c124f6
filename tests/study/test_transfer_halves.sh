#!/bin/bash
# test_transfer_halves.sh -- transfer learning on CIFAR-10: train on five classes, load by name, freeze the convolutions, learn
# the other five from 100 images of each.  It must reach the best validation accuracy that 60 epochs from random weights reach in
# at most a quarter of the epochs and of the seconds, and do no worse on the 5,000 test images.
. "$SOURCE_DIR/tests/study/common.sh"
cifar
first=airplane,bird,deer,frog,ship
second=automobile,cat,dog,horse,truck
jpeg=$out/cifar-jpeg

# images FROM-TO (sorted by name) of each class of the second half: train/CLASS to small/SPLIT/CLASS
few() { # SPLIT FROM TO
  local class
  for class in ${second//,/ }; do
    mkdir -p "$out/small/$1/$class"
    find "$jpeg/train/$class" -name '*.jpg' | sort | sed -n "$2,$3p" | xargs cp -t "$out/small/$1/$class"
  done
}
if [ ! -f "$out/cifar-b/index.json" ]; then
  few train 1 100
  few val 101 300
  mkdir -p "$out/small/test"
  for class in ${second//,/ }; do cp -r "$jpeg/test/$class" "$out/small/test/"; done
  ingest cifar-b "$out/small" --size 32
fi
ingest cifar-a "$jpeg" --size 32 ingest.only=$first ingest.val=0.05

batch=(data.path="$out/cifar-b" train.batch=20 train.monitor=val_accuracy train.restore_best=true)
train half-a transfer_cifar.yaml data.path="$out/cifar-a"
train scratch transfer_cifar.yaml "${batch[@]}" train.epochs=60
train transfer transfer_cifar.yaml "${batch[@]}" train.epochs=15 train.weights="$out/half-a" \
  'train.weights_skip=dense2.*' 'train.freeze=conv*,bn1.*,bn2.*'

# first epoch with at least that validation accuracy (0: the best there is), its accuracy, and the seconds until then
reached() { # RUN ACCURACY
  awk -F, -v least="$2" '
    NR == 1 { for (i = 1; i <= NF; i++) { if ($i == "val_accuracy") a = i; if ($i == "seconds") s = i }; next }
    { t += $s }
    least > 0 && $a >= least { print $1, $a, t; found = 1; exit }
    $a > best { best = $a; at = $1 " " $a " " t }
    END { if (!found) print (least > 0 ? "never 0 0" : at) }' "$out/$1/epochs.csv"
}
read -r scratch_epoch scratch_accuracy scratch_s <<< "$(reached scratch 0)"
read -r epoch accuracy s <<< "$(reached transfer "$scratch_accuracy")"
echo "from random weights: best validation accuracy $scratch_accuracy in epoch $scratch_epoch, after $scratch_s s"
echo "from the other half, convolutions frozen: $accuracy in epoch $epoch, after $s s"
echo "curves: scratch $(curve scratch | cut -d' ' -f1-20) ...; transfer $(curve transfer)"
evaluate scratch eval.checkpoint=best
evaluate transfer eval.checkpoint=best
echo "test accuracy of the best epochs: scratch $(number scratch accuracy), transfer $(number transfer accuracy)"
floor "epochs from random weights / epochs from the other half" "$(awk -v a="$scratch_epoch" -v b="$epoch" 'BEGIN { print (b > 0 ? a / b : 0) }')" 4
floor "the same in seconds" "$(awk -v a="$scratch_s" -v b="$s" 'BEGIN { print (b > 0 ? a / b : 0) }')" 4
floor "test accuracy: transfer - scratch" "$(awk -v a="$(number transfer accuracy)" -v b="$(number scratch accuracy)" 'BEGIN { print a - b }')" 0
exit $((failures > 0))
