#!/bin/bash
# test_cifar.sh -- CIFAR-10 by the CIFAR CNN, 20 epochs, seed 1: at least 83 % of the 10,000 test images.
. "$SOURCE_DIR/tests/study/common.sh"
cifar
train cifar cifar_cnn.yaml data.path="$out/cifar32"
evaluate cifar
echo "validation accuracy of each epoch: $(curve cifar)"
echo "curve: $out/cifar/curves.svg; training: $(seconds cifar) s"
cat "$out/cifar.eval.txt"
floor "CIFAR-10, CIFAR CNN, 20 epochs: test accuracy" "$(number cifar accuracy)" 0.83
exit $((failures > 0))
