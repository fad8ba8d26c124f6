#!/bin/bash
# test_gpu_columns.sh -- figures of the GPU in steps.csv and epochs.csv, with a library that plays one GPU (PN_WATCH_GPU names
# it); without a GPU there are no such columns, and one that cannot be watched is a warning.
set -u
. "$SOURCE_DIR/tests/lib.sh"
columns='gpu_utilization_percent,gpu_memory_bytes,gpu_power_w,gpu_clock_mhz,gpu_energy_j'

rm -rf phantom shards run-*
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 24
printf 'model: {filters1: 3, filters2: 4, hidden: 8}\ntrain: {batch: 8, epochs: 2, threads: 1}\ndata: {path: shards}\n' > run.yaml
must "$PNEUMA" train run.yaml out.path=run-none
head -n 1 run-none/steps.csv run-none/epochs.csv | grep -q gpu && say 'columns of a GPU without a GPU'

export LD_LIBRARY_PATH=$FAKE_LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PN_WATCH_GPU=00000000:3b:00.0
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-one
for file in steps epochs; do has run-one/$file.csv ",$columns\$"; done
# both ranks share the GPU: it counts once; energy of a step: power times its time
awk -F, 'NF != 18 { exit 1 } NR > 1 { e = 0.25 * $12; if (!($14 == 87 && $15 == 21474836480 && $16 == 250 && $17 == 1755)) exit 1; sum += e; got += $18 }
  END { exit !(got > 0.3 * sum && got < 3 * sum + 1) }' run-one/steps.csv || say "steps.csv: $(cat run-one/steps.csv)"
awk -F, 'NR == FNR { if (FNR > 1) e[$2] += $18; next } FNR > 1 { d = $24 - e[$1]; if (d > 1e-4 || d < -1e-4 || $20 != 87 || $22 < 249.9 || $22 > 250.1) exit 1 }' \
  run-one/steps.csv run-one/epochs.csv || say "epochs.csv is not made of steps.csv: $(cat run-one/epochs.csv)"
has run-one/run.json '"energy_j": [0-9.]+'

# resumed with the columns; not with other ones
must "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" train run.yaml out.path=run-one train.epochs=3 train.resume=true
[ "$(wc -l < run-one/epochs.csv)" -eq 4 ] || say "epochs after going on: $(cat run-one/epochs.csv)"

# figures that this GPU does not tell are empty cells
FAKE_NVML=mute must "$PNEUMA" train run.yaml out.path=run-mute train.epochs=1
awk -F, 'NF != 18 || (NR > 1 && !($14 == 87 && $16 == "" && $18 == "")) { exit 1 }' run-mute/steps.csv || say "mute: $(cat run-mute/steps.csv)"

PN_WATCH_GPU=00000000:ff:00.0 must "$PNEUMA" train run.yaml out.path=run-lost train.epochs=1
has err.txt 'warning: .*without figures of the GPU: .*Not Found'
head -n 1 run-lost/steps.csv | grep -q gpu && say 'columns of a GPU that cannot be watched'
finish gpu_columns
