#!/bin/bash
# test_link.sh -- ResNet18 with DDP over two nodes whose link is shaped to 100 Mbit/s (tc tbf): communication that overlap leaves exposed, against the
# version that waits for every bucket.  At most 0.6 of it, or what the link sets, whichever is larger: prints the arithmetic.  About five minutes.
# Needs root and Debian's slurm-wlm and munge; skipped without.
. "$SOURCE_DIR/tests/slurm/common.sh"
mbit=100 rounds=${ROUNDS:-2}

"$PNEUMA" synth phantom --images 256 --seed 4 > log.synth 2>&1 || say "synth: $(tail -n 2 log.synth)"
"$PNEUMA" ingest phantom shards --size 128 ingest.val=0 ingest.test=0 > log.ingest 2>&1 || say "ingest: $(tail -n 2 log.ingest)"
"$cluster" shape nodeB ${mbit}mbit
sent() { "$cluster" sh nodeB cat /sys/class/net/eth0/statistics/tx_bytes; }

# measure RANKS OVERLAP ROUND: steps of 256 images, the first one left out, go to rows.RANKS.OVERLAP as "exposed backward step" in ms
measure() {
  local run=run-$1-$2-$3 before=$(sent)
  on_ctl srun -t 4 -N2 -n "$1" --mpi=pmix "$PNEUMA" train data.path=shards model.name=resnet18 train.batch=256 train.steps=5 train.threads=1 train.bucket_mb=4 train.validate=false train.checkpoint_steps=5 \
    "out.path=$run" out.plots=false "train.overlap=$2" > "log.$run" 2>&1 || { say "$run: $(tail -n 3 "log.$run")"; exit 1; }
  echo $((($(sent) - before) / 5)) >> "bytes.$1"
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) at[$i] = i; next} $at["images"] == 256 && NR > 2 {print $at["comm_exposed_ms"], $at["backward_ms"], $at["step_ms"]}' \
    "$run/steps.csv" >> "rows.$1.$2"
}
for round in $(seq "$rounds"); do
  for ranks in 2 4; do
    for overlap in false true; do measure $ranks $overlap "$round"; done
  done
done

median() { sort -n | awk '{x[NR] = $1} END {print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2}'; }
column() { awk -v c="$2" '{print $c}' "$1" | median; }
parameters=$(grep -o '"parameters": *[0-9]*' run-2-true-1/run.json | head -n 1 | grep -o '[0-9]*$')
echo "ResNet18, $parameters parameters, two nodes, $mbit Mbit/s, 256 images per step; medians of $(wc -l < rows.2.true) steps"
for ranks in 2 4; do
  cmp -s <(field "run-$ranks-false-1/run.json" weights_sha256) <(field "run-$ranks-true-1/run.json" weights_sha256) || say "$ranks ranks: overlap changes the weights"
  awk -v p="$parameters" -v mbit=$mbit -v ranks=$ranks -v sent="$(median < bytes.$ranks)" \
    -v b="$(column rows.$ranks.false 1)" -v o="$(column rows.$ranks.true 1)" -v back="$(column rows.$ranks.false 2)" \
    -v sb="$(column rows.$ranks.false 3)" -v so="$(column rows.$ranks.true 3)" 'BEGIN {
    link = 4 * p / (mbit * 125)               # each node sends every gradient once: ms
    bound = link > back ? link - back : 0     # all of the backward pass hides communication
    limit = 0.6 * b > bound ? 0.6 * b : bound
    printf "%d ranks: step %.0f ms waiting, %.0f ms overlapped\n", ranks, sb, so
    printf "  bytes from a node per step: 4 x %d = %.1f MB; seen on the wire %.1f MB\n", p, 4e-6 * p, sent / 1e6
    printf "  the link alone: %.1f MB / %.1f MB/s = %.0f ms; backward pass %.0f ms; bound of the link %.0f ms\n", 4e-6 * p, mbit / 8, link, back, bound
    printf "  exposed: waiting %.0f ms, overlapped %.0f ms = %.2f of it; allowed: max(0.6 x %.0f, %.0f) = %.0f ms\n", b, o, o / b, b, bound, limit
    exit !(o > 0 && o <= limit)
  }' || say "$ranks ranks: too much communication is exposed"
done
exit $bad
