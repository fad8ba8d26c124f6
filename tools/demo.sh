#!/usr/bin/env bash
# demo.sh -- the whole of pneuma in one command, from nothing: installs what is missing, builds in build/,
# draws a phantom chest X-ray set, ingests it with 2 ranks, trains the CNN serial and with DDP,
# evaluates, and runs a scaling study. About 3 minutes on 2 cores. Everything lands in results/demo.
set -euo pipefail
. "$(dirname "$0")/env.sh"
"$root/tools/setup.sh"
build_all
pneuma=$build/pneuma
out=$root/results/demo
rm -rf "$out" # this script's own folder
mkdir -p "$out"
cd "$root"
two=(mpirun -n 2 --bind-to none) # runs inside whatever cores it was given

start=$SECONDS
say "1/6 where the ranks run"
"${two[@]}" "$pneuma" info
say "2/6 phantoms: RSNA-style DICOM and label files"
"${two[@]}" "$pneuma" synth "$out/dicom" --images 400 --seed 1
say "3/6 ingest with 2 ranks: DICOM -> HDF5 shards"
"${two[@]}" "$pneuma" ingest "$out/dicom" "$out/shards" --size 128
say "4/6 train the CNN, serial and with 2 DDP ranks"
"$pneuma" train configs/demo_train.yaml data.path="$out/shards" out.path="$out/serial"
"${two[@]}" "$pneuma" train configs/demo_train.yaml data.path="$out/shards" out.path="$out/ddp2"
say "5/6 evaluate the DDP run on the test images"
"${two[@]}" "$pneuma" eval "$out/ddp2"
say "6/6 scaling study: one launch, every row"
mpirun -n 4 --bind-to none "$pneuma" study configs/demo_study.yaml data.path="$out/shards" out.path="$out/study"

say "done in $((SECONDS - start)) s; the files:"
find "$out" -type f -not -name '*.dcm' -printf '%10s  %P\n' | sort -k2
echo "$(find "$out/dicom" -name '*.dcm' | wc -l) DICOM files in $out/dicom; everything above is in $out"
