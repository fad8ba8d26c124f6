#!/bin/bash
# test_usage.sh -- every mistake on the command line gets one line that says what to do, and exit code 2.
set -u
. "$SOURCE_DIR/tests/lib.sh"

# wrong CODE 'WORDS' ARGS...: exit code, nothing on stdout, one line `pneuma: ...` with the words on stderr.
wrong() {
  local code=$1 words=$2
  shift 2
  "$PNEUMA" "$@" > out.txt 2> err.txt
  local rc=$?
  [ $rc = "$code" ] || say "pneuma $*: exit code $rc, expected $code"
  [ -s out.txt ] && say "pneuma $*: stdout is not empty: $(head -c 200 out.txt)"
  [ "$(grep -c '^pneuma: ' err.txt)" = 1 ] || say "pneuma $*: expected one 'pneuma: ' line: $(cat err.txt)"
  grep -qF -- "$words" err.txt || say "pneuma $*: expected '$words' in: $(cat err.txt)"
}

# json CODE FIELD VALUE ARGS...: stdout is one JSON object with error.FIELD containing VALUE.
json() {
  local code=$1 field=$2 value=$3
  shift 3
  "$PNEUMA" "$@" > out.txt 2> err.txt
  local rc=$?
  [ $rc = "$code" ] || say "pneuma $*: exit code $rc, expected $code"
  # one object: the first line opens it, the last closes it, and only those two start a line with a brace
  [ "$(head -n 1 out.txt)" = '{' ] && [ "$(tail -n 1 out.txt)" = '}' ] && [ "$(grep -c '^[{}]' out.txt)" = 2 ] ||
    say "pneuma $*: stdout is not one object: $(cat out.txt)"
  grep -q "\"$field\": \"\{0,1\}[^\"]*$value" out.txt || say "pneuma $*: no $field with '$value' in: $(cat out.txt)"
}

wrong 2 'pneuma --help'
wrong 2 "did you mean 'train'" trian
wrong 2 "unknown command 'frobnicate'" frobnicate
wrong 2 "did you mean 'train.epochs'" train train.epohcs=3
wrong 2 "did you mean 'train.epochs'" train epochs=3
wrong 2 "did you mean '--epochs'" train --epohcs 3
wrong 2 'train.batch=0: expected an integer in [1, ' train train.batch=0
wrong 2 'optim.lr=fast: expected a number in [0, 100]' train --lr fast
wrong 2 'optim.name=adm: expected one of adam, adamw, sgd, lars (update rule); did you mean' train optim.name=adm
wrong 2 "model.name=custom_cn" info custom_cn
wrong 2 "did you mean 'custom_cnn'" info custom_cn
wrong 2 'ends in .yaml' info some/file.txt
wrong 2 'synth.images' train synth.images=3
wrong 2 'usage: pneuma ingest IN OUT' ingest only-one
wrong 2 "unexpected argument 'c'" ingest a b c
wrong 2 "unknown option '-x'" train -x
wrong 2 'needs a value' train --epochs
wrong 2 'write the whole key' train --path x
wrong 2 'cannot open missing.yaml: No such file' train missing.yaml
wrong 2 'cannot open missing.yaml: No such file' study missing.yaml
wrong 2 'ends in .yaml' train config.txt
wrong 2 'data.path is not set' train
wrong 2 "no help on 'nothing'" help nothing
wrong 2 'is not a run: it has no run.json' eval missing-run
wrong 1 'no index.json in missing-shards' train data.path=missing-shards

printf 'train:\n  batch: 4\n  epohcs: 3\n' > typo.yaml
wrong 2 "typo.yaml:3: unknown option 'train.epohcs'; did you mean 'train.epochs'" train typo.yaml
printf 'train:\n  batch: many\n' > value.yaml
wrong 2 'value.yaml:2: train.batch=many: expected an integer' train value.yaml
printf 'train:\n  batch: 4\n\tepochs: 2\n' > tab.yaml
wrong 2 'tab.yaml:3: not valid YAML' train tab.yaml
printf 'train: {batch: 4}\nother: 3\n' > key.yaml
wrong 2 "key.yaml:2: unknown option 'other'" info key.yaml

json 2 code argument --json
json 2 message "did you mean 'train'" trian --json
json 2 code argument train train.batch=0 --json
json 2 message 'typo.yaml:3' train typo.yaml --json
json 2 message 'missing argument' ingest --json
json 1 code io train data.path=missing-shards --json
json 1 host "$(hostname)" train data.path=missing-shards --json

# help and version: stdout, code 0, nothing on stderr
for args in --help -h help --version -V 'help man' 'help train' 'train --help' 'ingest --help --size 3'; do
  "$PNEUMA" $args > out.txt 2> err.txt || say "pneuma $args: exit code $?"
  [ -s out.txt ] || say "pneuma $args: no text"
  [ -s err.txt ] && say "pneuma $args: stderr is not empty: $(cat err.txt)"
done
for command in info synth ingest train eval study; do
  "$PNEUMA" --help | grep -q "^  $command " || say "pneuma --help does not list $command"
  "$PNEUMA" $command --help | grep -q "^Usage: pneuma $command " || say "pneuma $command --help has no usage"
done
"$PNEUMA" help man | head -n 1 | grep -q '^\.TH PNEUMA 1' || say 'the manual page does not start with .TH'
for key in train.batch optim.lr ingest.size synth.images eval.split out.path; do
  "$PNEUMA" help man | grep -q "^\.BI $key=" || say "the manual page does not name $key"
done
if command -v man > man.txt 2>&1; then
  "$PNEUMA" help man > pneuma.1
  MANROFFSEQ= LC_ALL=C.UTF-8 man --warnings -l pneuma.1 > /dev/null 2> man.txt || say 'man cannot read the page'
  [ -s man.txt ] && say "man warns: $(head -n 3 man.txt)"
fi

# several ranks: the mistake is told once, and every rank leaves
"$MPIEXEC" -n 3 --bind-to none "$PNEUMA" train train.batch=0 --json > out.txt 2> err.txt
rc=$?
[ $rc = 2 ] || say "3 ranks: exit code $rc, expected 2"
[ "$(grep -c '^pneuma: ' err.txt)" = 1 ] || say "3 ranks: expected one line: $(cat err.txt)"
[ "$(grep -c '"error"' out.txt)" = 1 ] || say "3 ranks: expected one object: $(cat out.txt)"
[ "$("$MPIEXEC" -n 2 --bind-to none "$PNEUMA" --version 2>&1 | grep -c '^pneuma ')" = 1 ] || say '2 ranks: version is not told once'

# a full disk behind stdout is an error
if [ -e /dev/full ]; then
  "$PNEUMA" --help > /dev/full 2> err.txt
  rc=$?
  [ $rc = 1 ] && grep -q 'cannot write to standard output' err.txt || say "/dev/full: exit code $rc: $(cat err.txt)"
fi

finish usage
