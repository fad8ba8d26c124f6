#!/usr/bin/env bash
# gpu_check.sh -- one call on a GPU machine: tests with label gpu, then training speed beside the PyTorch found there, host time
# and idle time of a step, CIFAR-10 to an accuracy; one table each.  Exit status: 0 all ran and reached the goals, 1 a piece failed,
# 2 usage, 3 all ran, a goal was missed.
#   gpu_check.sh [options]       in an unpacked bundle, or in the source tree (builds in build/ when there is no program)
#     -a FILE     archive of tools/bundle.sh: unpacked first            -d DEVICE  cuda (default), cpu: a dry run
#     -p TYPE     bf16 (default) or f32                                 -t S       seconds for everything (default 570)
#     -m 'M ...'  networks (default: the four)                          -k N       batches smaller by N (default 1)
#     -r N        repetitions after a warm-up (default 7)               -y FILE    python3 with PyTorch
#     -c FOLDER   CIFAR-10, as its files or as shards: train it too     -g X       to this accuracy (default 0.83)
#     -T          without the tests
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
archive="" device=cuda type=bf16 limit=570 networks="custom_cnn cifar_cnn resnet18 resnet50v2" shrink=1 reps=7
cifar="" accuracy=0.83 tests=yes
python=$(command -v /opt/peer/bin/python python3 2> /dev/null | head -n 1)
while getopts a:d:p:t:m:k:r:y:c:g:T option; do
  case $option in
    a) archive=$OPTARG ;; d) device=$OPTARG ;; p) type=$OPTARG ;; t) limit=$OPTARG ;; m) networks=$OPTARG ;;
    k) shrink=$OPTARG ;; r) reps=$OPTARG ;; y) python=$OPTARG ;; c) cifar=$OPTARG ;; g) accuracy=$OPTARG ;; T) tests="" ;; *) exit 2 ;;
  esac
done
failed=0 missed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
kept=0 # seconds for what comes behind the networks
[ -z "$cifar" ] || kept=$((limit / 6))
left() { echo $((limit - SECONDS - kept)); }
bad() { echo "gpu_check: $*"; failed=1; }

# ---- the program
if [ -n "$archive" ]; then
  tar -xzf "$archive" -C "$work" || exit 1
  here=$work/pneuma
fi
if [ -x "$here/bin/run_tests" ]; then
  [ -d "$here/lib" ] || sh "$here/unpack" || exit 1
  pneuma=$here/bin/pneuma bench=$here/bin/bench_train
else
  . "$here/tools/env.sh"
  [ -x "$build/pneuma" ] || build_all || exit 1
  pneuma=$build/pneuma bench=$build/bench_train
fi
echo "== $("$pneuma" info 2> /dev/null | head -n 1)"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null || echo "no nvidia-smi on this machine"

# ---- tests
[ -n "$tests" ] && echo "== tests with label gpu"
export PN_SANITIZER_S=${PN_SANITIZER_S:-15} # of six runs under compute-sanitizer
if [ -z "$tests" ]; then
  echo "== no tests (-T)"
elif [ -x "$here/bin/run_tests" ]; then
  if grep -q '^gpu ' "$here/tests.list"; then
    timeout -k 5 $(($(left) / 2)) "$here/bin/run_tests" gpu || bad "tests: exit status $?"
  else
    bad "the bundle holds no test with label gpu (made by a build without CUDA?)"
  fi
else
  timeout -k 5 $(($(left) / 2)) ctest --test-dir "$build" -L '^gpu$' --no-tests=error --output-on-failure || bad "tests: exit status $?"
fi

# ---- what the chip can do: a bf16 matrix product and a copy, by PyTorch
cat > "$work/peaks.py" << 'END'
import sys, torch
def best(f, n):
    times = []
    for _ in range(n):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record(); f(); b.record(); torch.cuda.synchronize()
        times.append(a.elapsed_time(b) * 1e-3)
    return sorted(times)[n // 2]
if not torch.cuda.is_available():
    sys.exit("PyTorch %s sees no GPU" % torch.__version__)
x, y = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
c = torch.randn(1 << 28, device="cuda"); d = torch.empty_like(c)
for _ in range(3): x @ y; d.copy_(c)
print("%.1f %.2f %s" % (2 * 8192**3 / best(lambda: x @ y, 15) / 1e12, 2 * c.nbytes / best(lambda: d.copy_(c), 15) / 1e12, torch.__version__))
END
peak=""
if [ "$device" = cuda ]; then
  if timeout -k 5 60 "$python" "$work/peaks.py" > "$work/peaks" 2> "$work/peaks.err"; then
    read -r peak copy torch < "$work/peaks"
    echo "== PyTorch $torch: bf16 matrix product $peak TFLOP/s, copy $copy TB/s (read and written); medians of 15"
  else
    bad "peaks: $(tail -n 1 "$work/peaks.err")"
  fi
fi

# ---- training speed: goals are pneuma / PyTorch's best, for bf16 on an H100 or H200
batch_of() { case $1 in cifar_cnn) echo 512 ;; *) echo 256 ;; esac; }
goal_of() { case $1 in custom_cnn | cifar_cnn) echo 1.5 ;; *) echo 1.2 ;; esac; }
precision=()
if "$bench" --help | grep -q -- --precision; then
  precision=(--precision "$type")
elif [ "$type" != f32 ]; then
  bad "this bench_train knows no --precision: f32 is measured, not $type"
  type=f32
fi
share() { # of what is left, for this network: the later ones take longer to compile
  local n=0 after=0 at
  for at in $networks; do
    [ "$n" = 0 ] || after=$((after + 1))
    [ "$at" = "$1" ] && n=1
  done
  echo $(($(left) / (after + 1)))
}
for network in $networks; do
  batch=$(($(batch_of "$network") / shrink))
  seconds=$(share "$network")
  code=1
  [ "$seconds" -lt 5 ] || {
    code=0
    timeout -k 5 "$seconds" "$bench" --model "$network" --batch $((batch > 0 ? batch : 1)) --device "$device" ${precision[@]+"${precision[@]}"} \
      --reps "$reps" --python "$python" --script "$here/tools/peer_train.py" --json > "$work/$network.json" 2> "$work/$network.err" || code=$?
  }
  [ $code -eq 0 ] && continue
  rm -f "$work/$network.json"
  case $code in 124 | 137) why="more than $seconds s" ;; *) why=$(grep -v '^$' "$work/$network.err" 2> /dev/null | tail -n 1) ;; esac
  echo "${why:-no time left}" > "$work/$network.why"
  bad "$network: ${why:-no time left}"
done

# ---- the table
flop_of() { "$pneuma" info "$1" --json 2> /dev/null | sed -n 's/.*"flop_per_image": *\([0-9.e+]*\).*/\1/p' | head -n 1; }
value() { sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$work/$1.${4:-json}" | sed -n "${3:-1}p"; }
printf '\n%-11s %5s %-4s %12s %12s %-34s %6s %6s\n' network batch type "img/s" "PyTorch" "at its best" ratio goal
for network in $networks; do
  goal=$(goal_of "$network")
  if [ ! -s "$work/$network.json" ]; then
    printf '%-11s %s\n' "$network" "no figure: $(cat "$work/$network.why")"
    continue
  fi
  ratio=$(value "$network" ratio)
  note=""
  case $ratio in
    null | "") note="no PyTorch: $(grep -E "^no PyTorch from|^peer_train.py" "$work/$network.err" | tail -n 1)" failed=1 ;;
    *)
      note="$goal missed"
      if awk "BEGIN { exit !($ratio >= $goal) }"; then note="$goal yes"; else missed=1; fi
      ;;
  esac
  printf '%-11s %5s %-4s %12.1f %12.1f %-34s %6.2f %s\n' "$network" "$(value "$network" batch)" "$type" "$(value "$network" images_per_s)" \
    "$(value "$network" images_per_s 2)" "$(value "$network" name)" "${ratio/null/0}" "$note"
done
flop=$(flop_of resnet50v2)
if [ -n "$peak" ] && [ -n "$flop" ] && [ -s "$work/resnet50v2.json" ]; then
  awk -v f="$flop" -v r="$(value resnet50v2 images_per_s)" -v p="$peak" 'BEGIN {
    share = 3e-10 * f * r / p
    printf "resnet50v2: %.1f TFLOP/s in training, counting 3 times the forward pass: %.1f %% of the matrix product (goal 25 %%: %s)\n", 3 * f * r / 1e12, share, share >= 25 ? "yes" : "missed"
    exit share < 25 }' || missed=1
fi

# ---- a step seen from the host: `pneuma bench train` measures what the GPU waits for
printf '\n%-11s %-4s %14s %14s\n' network type "host us/step" "GPU idle %"
step_of() { # NETWORK: its JSON
  local batch=$(($(batch_of "$1") / shrink))
  timeout -k 5 $(($(left) > 60 ? 60 : $(left) > 1 ? $(left) : 1)) "$pneuma" bench train model.name="$1" train.batch=$((batch > 0 ? batch : 1)) \
    train.device="$device" train.precision="$type" bench.steps=$((device_steps)) --json > "$work/$1.step" 2> "$work/$1.step.err"
}
device_steps=50
[ "$device" = cuda ] || device_steps=2
over() { awk "BEGIN { exit !($1 > $2) }"; }
for network in $networks; do
  step_of "$network" || {
    why=$(grep -v '^$' "$work/$network.step.err" | tail -n 1)
    printf '%-11s %s\n' "$network" "no figure: ${why:-no time left}"
    bad "$network, host time: ${why:-no time left}"
    continue
  }
  host=$(value "$network" host_us_per_step 1 step) idle=$(value "$network" gpu_idle_percent 1 step)
  if [ -z "$host" ] || [ -z "$idle" ]; then
    printf '%-11s %-4s %s\n' "$network" "$type" "no figure: the device $device tells none"
    [ "$device" = cuda ] && failed=1
    continue
  fi
  note=""
  over "$host" 50 && note="host time over 50 us; "
  over "$idle" 3 && note="${note}idle over 3 %"
  [ -z "$note" ] || missed=1
  printf '%-11s %-4s %14.1f %14.2f %s\n' "$network" "$type" "$host" "$idle" "$note"
done

# ---- CIFAR-10 by configs/cifar_cnn.yaml: seconds until the validation reaches the accuracy
kept=0
if [ -n "$cifar" ]; then
  shards=$cifar said="cifar_cnn, CIFAR-10 to $accuracy:"
  if [ ! -f "$cifar/index.json" ]; then
    shards=$work/cifar32
    timeout -k 5 "$(left)" "$pneuma" ingest "$cifar" "$shards" --size 32 ingest.val=0.05 > "$work/ingest" 2>&1 || shards=""
  fi
  if [ -z "$shards" ]; then
    echo "$said no figure: $(grep -v '^$' "$work/ingest" | tail -n 1)"
    bad "CIFAR-10: the folder $cifar cannot be ingested"
  elif timeout -k 5 "$(left)" "$pneuma" train "$here/configs/cifar_cnn.yaml" data.path="$shards" train.device="$device" train.precision="$type" \
    train.checkpoint_epochs=0 out.path="$work/run" > "$work/train" 2> "$work/train.err"; then
    awk -F, -v goal="$accuracy" -v said="$said" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
      { s += $at["seconds"]; n = $1; last = $at["val_accuracy"]; if (last > best) best = last
        if (last >= goal && !done) { done = 1; printf "%s %.1f s of training, %d epochs\n", said, s, n } }
      END { if (!done) printf "%s not reached: %.4f at best in %d epochs, %.1f s\n", said, best, n, s; exit !done }' "$work/run/epochs.csv" || missed=1
  else
    why=$(grep -v '^$' "$work/train.err" | tail -n 1)
    echo "$said no figure: ${why:-no time left}"
    bad "CIFAR-10: ${why:-no time left}"
  fi
fi
[ "$device" = cuda ] || echo "a dry run on '$device' with batches / $shrink: no figure here says anything about a GPU"
echo "gpu_check: $SECONDS s"
[ $failed -eq 0 ] || exit 1
[ $missed -eq 0 ] || exit 3
