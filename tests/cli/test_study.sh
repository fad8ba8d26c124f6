#!/bin/bash
# A whole study on 24 phantoms: files, fields, marks, messages.  Environment: see tests/CMakeLists.txt.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
rm -rf phantom shards out* ./*.yaml ./*.txt
. "$SOURCE_DIR/tests/lib.sh"

holds() { grep -qF -- "$2" "$1" || { say "$1 lacks: $2"; tail -n 20 "$1" >&2; }; }
lacks() { ! grep -qF -- "$2" "$1" || say "$1 should not hold: $2"; }
pneuma_on() { local n=$1; shift; timeout 100 "$MPIEXEC" -n "$n" --bind-to none "$PNEUMA" "$@"; }

"$PNEUMA" synth phantom synth.images=24 synth.seed=3 >synth.txt 2>&1 || { cat synth.txt; exit 1; }
"$PNEUMA" ingest phantom shards ingest.size=32 ingest.val=0.2 ingest.test=0.1 >ingest.txt 2>&1 ||
  { cat ingest.txt; exit 1; }

cat >study.yaml <<'YAML'
data: {path: shards}
model: {filters1: 4, filters2: 4, hidden: 8}
train: {steps: 6, epochs: 0, batch: 4, threads: 1}
study:
  repeats: 2
  steps: 5
  rows:
    - {name: serial, ranks: 1}
    - {name: ddp-2, strategy: ddp, ranks: 2, scaling: strong}
    - {name: ddp-3, strategy: ddp, ranks: 3, scaling: strong, optim.lr: 0.002}
    - {name: weak-2, ranks: 2, scaling: weak, train: {seed: 2}}
    - {name: ddp-64, ranks: 64}
YAML

# 1. Text: table, base, a row that cannot run, fits that say what they stand on.
pneuma_on 3 study study.yaml out.path=out1 >text.txt 2>log.txt || { say "study ended with $?"; cat log.txt; }
holds text.txt "Base: serial"
holds text.txt "ddp-64: not run: needs 64 ranks, launched 3 (mpirun -n 64 pneuma study ...)"
holds text.txt "Drift: the base measured again"
holds text.txt "Gustafson (weak): no fit. Gustafson's law needs 3 different numbers of cores"
holds log.txt "row 2 of 5: ddp-2 (2 ranks), run 1 of 2"
for f in study.json study.csv study.md rows/serial.json rows/weak-2.json speedup.gp; do
  [ -s "out1/$f" ] || say "out1/$f is missing"
done
if command -v gnuplot >/dev/null; then
  for f in speedup efficiency; do
    [ -s "out1/$f.svg" ] && [ -s "out1/$f.png" ] || say "out1/$f was not drawn"
  done
  holds out1/study.md "![speedup](speedup.svg)"
else
  holds log.txt "no gnuplot here"
fi
[ "$(wc -l <out1/study.csv)" = 6 ] || say "study.csv should have a heading and five rows"
holds out1/study.csv "name,status,strategy,scaling,batch_rule"
holds out1/study.csv "ddp-2,ok,ddp,strong,global,"
holds out1/study.csv "weak-2,ok,ddp,weak,local,"
for key in '"rows"' '"base": "serial"' '"fits"' '"amdahl"' '"gustafson"' '"usl"' '"speedup"' '"efficiency"' \
  '"karp_flatt"' '"comm_exposed_share"' '"weights_sha256"' '"step_ms"' '"images_per_s"' '"oversubscribed"' \
  '"global_batch": 4' '"global_batch": 8' '"scaling": "weak"' '"versions"' '"precision": "f32"' '"recall"'; do
  holds out1/study.json "$key"
done
# Three ranks on fewer cores: marked and left out of the fit; on three cores and more: fitted.
if grep -q 'ddp-3 \*' text.txt; then
  holds out1/study.json '"oversubscribed": true'
  holds text.txt "Amdahl (strong): no fit."
  holds text.txt "ddp-3 (more threads than cores)"
else
  holds text.txt "Amdahl (strong): serial fraction"
fi

# 2. --json: one object on stdout; the command line overrides every row; a used folder is refused.
pneuma_on 2 study study.yaml --json out.path=out2 train.batch=6 study.repeats=1 study.plots=false >json.txt 2>/dev/null ||
  say "study --json ended with $?"
[ "$(head -c 1 json.txt)" = "{" ] || say "--json: stdout is not an object"
holds json.txt '"global_batch": 6'
lacks json.txt '"global_batch": 4'
holds json.txt "not run: needs 3 ranks, launched 2"
[ ! -e out2/speedup.gp ] || say "study.plots=false still plots"
pneuma_on 1 study study.yaml out.path=out1 >used.txt 2>&1 && say "a folder in use was taken"
holds used.txt "out1"

# 3. Mistakes in rows: file, line, nearest key; exit code 2.
refuse() { # refuse "YAML of a row" "expected message"
  printf 'data: {path: shards}\nstudy:\n  rows:\n    - {name: serial, ranks: 1}\n    - %s\n' "$1" >bad.yaml
  pneuma_on 2 study bad.yaml out.path=out3 >bad.txt 2>&1
  local rc=$?
  [ $rc = 2 ] || say "'$1' ended with $rc, expected 2"
  holds bad.txt "$2"
}
refuse '{name: a, rank: 2}' "bad.yaml:5: row 2: unknown key 'rank'; did you mean 'ranks'?"
refuse '{name: a, train.bach: 2}' "did you mean 'train.batch'?"
refuse '{name: a, epochs: 2}' "did you mean 'train.epochs'?"
refuse '{name: a, batch: 0}' "bad.yaml:5"
refuse '{name: a, ranks: 2, scaling: weak, batch_rule: global}' "contradicts"
refuse '{name: a, data.path: x}' "same for the whole study"
refuse '{name: serial, ranks: 2}' "two rows of study.rows are named 'serial'"
refuse '{ranks: 2}' "has no name"
[ ! -e out3 ] || say "a refused study left a folder"
printf 'data: {path: shards}\nstudy: {repeats: 1}\n' >bad.yaml
pneuma_on 1 study bad.yaml out.path=out3 >bad.txt 2>&1 && say "a study without rows ran"
holds bad.txt "study.rows"

# 4. A row that fails ends the study everywhere, with its name; ranks that sleep do not wait for ever.
cat >fail.yaml <<'YAML'
data: {path: shards}
model: {filters1: 4, filters2: 4, hidden: 8}
train: {steps: 3, epochs: 0, batch: 4, threads: 1}
study:
  rows:
    - {name: serial, ranks: 1}
    - {name: wrong, strategy: single, ranks: 2}
YAML
pneuma_on 3 study fail.yaml out.path=out4 >fail.txt 2>&1
rc=$?
{ [ $rc != 0 ] && [ $rc != 124 ]; } || say "a failing row ended with $rc"
holds fail.txt "row 'wrong' of the study"

# 5. Later passes keep what the first one could do: a warm-up longer than their steps, patience, the plateau rule.
printf 'data: {path: shards}\nmodel: {filters1: 4, filters2: 4, hidden: 8}\ntrain: {epochs: 3, batch: 4, threads: 1}\nstudy: {repeats: 2, plots: false, rows: [{name: serial}]}\n' >passes.yaml
passes() { # passes NAME OPTIONS...
  pneuma_on 1 study passes.yaml out.path="out-$1" "${@:2}" >"$1.txt" 2>&1 || { say "${*:2}: ended with $?"; tail -n 5 "$1.txt" >&2; }
  lacks "$1.txt" "OTHER WEIGHTS"
}
passes short schedule.name=cosine schedule.warmup=1 train.patience=2 study.steps=4
passes stopped train.patience=1 train.min_delta=1000 study.steps=0
holds stopped.txt "stopped early: val_loss"
passes plateau schedule.name=plateau schedule.patience=0 schedule.threshold=0.9 study.steps=0
holds plateau.txt "schedule.name=plateau: learning rate from now on"

# 6. Where another start has taken the folder over, this one stops before it writes again.
pneuma_on 2 study study.yaml out.path=out5 study.repeats=30 >/dev/null 2>over.txt &
for ((i = 0; i < 300; i++)); do
  [ -s out5/rows/serial.json ] && break
  sleep 0.1
done
awk '{ $1 = 1; $5 = "0123456789abcdef"; print }' out5/.run.lock >lock.txt && cat lock.txt >out5/.run.lock
wait $!
rc=$?
[ $rc = 1 ] || say "a study whose folder was taken over ended with $rc"
holds over.txt "has taken over: this study stops"
[ ! -e out5/study.json ] || say "a study whose folder was taken over wrote its tables"

finish study
