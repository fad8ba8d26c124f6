#!/bin/bash
# test_train_gpu.sh -- whole trainings on a GPU: cli/test_emulated.sh with the device cuda.  PN_TEST_DEVICE: on another device.
DEVICE=${PN_TEST_DEVICE:-cuda} exec bash "$(dirname "$0")/../cli/test_emulated.sh"
