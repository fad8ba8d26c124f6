#!/bin/bash
# test_bf16_accuracy.sh -- the same run in f32 and bf16: CIFAR CNN, 5 epochs of configs/cifar_cnn.yaml; the accuracies on the 10,000
# test images differ by at most one standard error of their difference.
. "$SOURCE_DIR/tests/study/common.sh"
if ! "$PNEUMA" info cifar_cnn train.precision=bf16 > "$out/bf16.info.txt" 2> "$out/bf16.why.txt"; then
  echo "skipped: $(tail -n 1 "$out/bf16.why.txt")"
  exit 77
fi
cifar
for precision in f32 bf16; do
  train cifar-$precision cifar_cnn.yaml data.path="$out/cifar32" train.epochs=5 train.precision=$precision
  evaluate cifar-$precision
  echo "$precision: test accuracy $(number cifar-$precision accuracy), loss $(number cifar-$precision loss), $(seconds cifar-$precision) s"
  echo "  validation accuracy of each epoch: $(curve cifar-$precision)"
done
read -r difference error <<< "$(awk -v a="$(number cifar-f32 accuracy)" -v b="$(number cifar-bf16 accuracy)" \
  'BEGIN { d = a - b; printf "%.4f %.4f\n", (d < 0 ? -d : d), sqrt((a * (1 - a) + b * (1 - b)) / 10000) }')"
floor "standard error of the difference - difference ($error - $difference)" \
  "$(awk -v e="$error" -v d="$difference" 'BEGIN { print e - d }')" 0
exit $((failures > 0))
