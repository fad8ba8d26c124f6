# common.sh -- sourced by the studies: resumable steps in $out, and numbers against their floors.
# PN_STUDY_OUT: where data, runs and summaries go and stay (default: the test's own folder of the build).
# PN_STUDY_DATA: the shared data, if not beside the sources.
# PN_STUDY_KEYS: further key=value for all trainings, e.g. train.steps=2 to try the scripts themselves.
set -u
data=${PN_STUDY_DATA:-$SOURCE_DIR/../shared/data}
out=${PN_STUDY_OUT:-$WORK_DIR}
failures=0
mkdir -p "$out"

need() { # PATH: below ../shared/data
  [ -e "$data/$1" ] && return
  echo "skipped: needs $data/$1"
  exit 77
}
must() {
  "$@" && return
  echo "FAILED: $*"
  exit 1
}

# Both do nothing where they are complete, and go on where they were stopped.
ingest() { # NAME IN ARGUMENTS...
  local name=$1 in=$2
  shift 2
  must "$PNEUMA" ingest "$in" "$out/$name" "$@" --quiet > "$out/$name.ingest.txt"
}
train() { # NAME CONFIG KEYS...
  local name=$1 config=$2
  shift 2
  [ -f "$out/$name/run.json" ] && return
  # shellcheck disable=SC2086
  must "$PNEUMA" train "$SOURCE_DIR/configs/$config" --resume out.path="$out/$name" "$@" ${PN_STUDY_KEYS:-} --quiet > "$out/$name.train.txt"
}
# The test split, asked again from the checkpoint: NAME.eval.txt for people, NAME.eval.json.
evaluate() { # NAME KEYS...
  local name=$1
  shift
  must "$PNEUMA" eval "$out/$name" "$@" > "$out/$name.eval.txt"
  must "$PNEUMA" eval "$out/$name" "$@" --json --quiet > "$out/$name.eval.json"
}
number() { # NAME KEY: of the whole split
  grep -m1 -oE "\"$2\": [0-9.]+" "$out/$1.eval.json" | cut -d' ' -f2
}
mean() { awk '{ s += $1; q += $1 * $1 } END { m = s / NR; v = NR > 1 ? (q - NR * m * m) / (NR - 1) : 0; printf "%.4f %.4f\n", m, sqrt(v > 0 ? v : 0) }'; }
curve() { # NAME: validation accuracy of each epoch
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "val_accuracy") k = i; next } k { printf "%s%.3f", (NR > 2 ? " " : ""), $k } END { print "" }' "$out/$1/epochs.csv"
}
seconds() { # NAME: of the training
  grep -m1 -oE '^ *"seconds": [0-9.]+' <(grep -vE '^ {4,}' "$out/$1/run.json") | grep -oE '[0-9.]+$'
}
floor() { # WHAT VALUE LEAST
  if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a != "" && a >= b) }'; then
    echo "$1: $2, at least $3: reached"
  else
    echo "$1: $2, at least $3: MISSED"
    failures=$((failures + 1))
  fi
}
# CIFAR-10 as JPEG folders in $out/cifar-jpeg and as shards in $out/cifar32 (2,500 images for validation).
cifar() {
  need cifar10/cifar10_jpeg.tar.xz
  if [ ! -d "$out/cifar-jpeg" ]; then
    rm -rf "$out/cifar-unpacked"
    mkdir -p "$out/cifar-unpacked"
    must tar xJf "$data/cifar10/cifar10_jpeg.tar.xz" -C "$out/cifar-unpacked"
    must mv "$out/cifar-unpacked" "$out/cifar-jpeg"
  fi
  ingest cifar32 "$out/cifar-jpeg" --size 32 ingest.val=0.05
}
# What the chest networks start from: the same network, taught on CIFAR-10 in grey.
pretrain() {
  cifar
  ingest cifar64 "$out/cifar-jpeg" --size 64 ingest.channels=1
  train chest3-pretrain chest3_pretrain.yaml data.path="$out/cifar64"
}
