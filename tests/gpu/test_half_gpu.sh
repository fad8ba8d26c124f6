#!/bin/bash
# test_half_gpu.sh -- trainings in bf16 and fp16 on a GPU: cli/test_half.sh with the device cuda.  PN_TEST_DEVICE: on another device.
DEVICE=${PN_TEST_DEVICE:-cuda} exec bash "$(dirname "$0")/../cli/test_half.sh"
