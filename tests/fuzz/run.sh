#!/usr/bin/env bash
# run.sh BUILD SECONDS [TARGET...] -- build the fuzz targets with clang, make the seed corpus with the
# project's own tests and tools (from BUILD, a finished build), and run each target for SECONDS.
# Fails on any finding; the input that did it stays in BUILD-fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=$(realpath "$1") seconds=$2
shift 2
targets=("${@:-csv}")
[ $# -gt 0 ] || targets=(dicom csv table picture yaml index)
if ! command -v clang >/dev/null; then
  echo "fuzz: SKIPPED, no clang (tools/setup.sh --dev installs it)"
  exit 0
fi
. tools/env.sh
work=$base-fuzz
cmake -S . -B "$work" -DPN_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$work.log" 2>&1 || { tail -n 20 "$work.log"; exit 1; }
cmake --build "$work" -j "${jobs:-2}" >>"$work.log" 2>&1 || { tail -n 40 "$work.log"; exit 1; }

seeds=$work/seeds
rm -rf "$seeds" "$work/set"
mkdir -p "$seeds"/{dicom,csv,table,picture,yaml,index} "$work/corpus" "$work/found"
export ASAN_OPTIONS=detect_leaks=0 # the seeds may come from a sanitized build, and MPI leaks
for t in table streams files; do
  (cd "$seeds" && PN_TABLE_DIR=$seeds/dicom "$base/tests/test_dicom_$t" >/dev/null 2>&1)
done
"$base/pneuma" --quiet synth "$work/set/in" synth.images=12 >/dev/null
"$base/pneuma" --quiet ingest "$work/set/in" "$work/set/shards" --size 16 >/dev/null 2>&1
cp "$work"/set/in/stage_2_train_labels.csv "$seeds/csv/rsna.csv"
printf '\xEF\xBB\xBFpatientId;x;y;width;height;Target\r\n"a ""b""";1;2;3;4;1\r\n\r\nc;;;;;0\fpatientId;class\nc;Normal' >"$seeds/csv/odd.csv"
printf 'file,class,patient,fold,split,age\na/b.png,x,p,1,train,051Y\nc.png,y,q,2,val,3M\n' >"$seeds/table/names.csv"
printf 'a;b;fold\r\n"x";1;1\r\ny;2;2' >"$seeds/table/named.csv"
PN_PICTURE_DIR=$seeds/picture "$base/tests/test_picture" >/dev/null 2>&1
cp configs/*.yaml "$seeds/yaml"
printf 'a: {b: [1, 2.5, true, "x"], c: null}\n# end\n' >"$seeds/yaml/flow.yaml"
cp "$work/set/shards/index.json" "$seeds/index"
cp "$work"/set/in/stage_2_train_images/*1.dcm "$seeds/dicom" 2>/dev/null || true

for t in "${targets[@]}"; do
  [ -x "$work/tests/fuzz/fuzz_$t" ] || { echo "fuzz $t: SKIPPED, not in this build"; continue; }
  mkdir -p "$work/corpus/$t"
  log=$work/$t.log
  if ! PN_FUZZ_DIR=$work/set/shards ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:max_allocation_size_mb=300:quarantine_size_mb=16:malloc_context_size=4 \
    LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp \
    "$work/tests/fuzz/fuzz_$t" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -malloc_limit_mb=5000 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$work/found/$t-" "$work/corpus/$t" "$seeds/$t" >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "fuzz $t: FAILED, see $work/found"
    exit 1
  fi
  echo "fuzz $t: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions in $seconds s," \
    "$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1), nothing found"
done
