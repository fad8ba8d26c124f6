#!/bin/bash
# test_chest3.sh -- covid, normal, pneumonia: five folds that keep patients together, nothing chosen by a test fold; the mean
# accuracy at least 0.88, recall per class, and the warning that covid comes from another source.
. "$SOURCE_DIR/tests/study/common.sh"
need chest3
pretrain
rm -f "$out/chest3.accuracies"
for fold in 0 1 2 3 4; do
  ingest chest3-$fold "$data/chest3" --size 192 ingest.test_fold=$fold ingest.val=0
  train chest3-run-$fold chest3_resnet18.yaml train.weights="$out/chest3-pretrain" data.path="$out/chest3-$fold"
  evaluate chest3-run-$fold eval.flip=true
  number chest3-run-$fold accuracy >> "$out/chest3.accuracies"
  echo "fold $fold: accuracy $(number chest3-run-$fold accuracy), $(seconds chest3-run-$fold) s"
  cat "$out/chest3-run-$fold.eval.txt"
  grep -q 'Warning: class covid: .* alone tells its images' "$out/chest3-run-$fold.eval.txt" || {
    echo "FAILED: no warning about the source of covid"
    failures=$((failures + 1))
  }
done
for class in covid normal pneumonia; do
  read -r m s <<< "$(cat "$out"/chest3-run-?.eval.txt | awk -v c=$class '$1 == c && NF == 6 { print $3 }' | mean)"
  echo "recall of $class: mean $m, standard deviation over the folds $s"
done
read -r m s <<< "$(mean < "$out/chest3.accuracies")"
echo "accuracy: mean $m, standard deviation over the folds $s"
floor "chest3, ResNet18 at half width from CIFAR-10, 192 x 192, mean of 5 folds" "$m" 0.88
exit $((failures > 0))
