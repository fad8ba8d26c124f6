#!/bin/bash
# test_normal_pneumonia.sh -- the two classes of chest3 that come from one source: accuracy and AUC on fold 0
# (PN_STUDY_FOLDS="0 1 2 3 4": on more).  They must not be told by their source: no warning.
. "$SOURCE_DIR/tests/study/common.sh"
need chest3
pretrain
rm -f "$out"/chest2.{accuracies,aucs}
for fold in ${PN_STUDY_FOLDS:-0}; do
  ingest chest2-$fold "$data/chest3" --size 192 ingest.only=normal,pneumonia ingest.test_fold=$fold ingest.val=0
  train chest2-run-$fold chest3_resnet18.yaml train.weights="$out/chest3-pretrain" data.path="$out/chest2-$fold" model.head=sigmoid
  evaluate chest2-run-$fold
  number chest2-run-$fold accuracy >> "$out/chest2.accuracies"
  number chest2-run-$fold auc >> "$out/chest2.aucs"
  echo "fold $fold: accuracy $(number chest2-run-$fold accuracy), AUC $(number chest2-run-$fold auc), $(seconds chest2-run-$fold) s"
  cat "$out/chest2-run-$fold.eval.txt"
  grep -q 'Warning: class' "$out/chest2-run-$fold.eval.txt" && {
    echo "FAILED: normal and pneumonia are told by something beside their pixels"
    failures=$((failures + 1))
  }
done
read -r m s <<< "$(mean < "$out/chest2.accuracies")"
floor "normal against pneumonia: mean accuracy" "$m" 0.80
read -r m s <<< "$(mean < "$out/chest2.aucs")"
floor "normal against pneumonia: mean AUC" "$m" 0.88
exit $((failures > 0))
