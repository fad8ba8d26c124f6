#!/bin/bash
# test_ingest.sh -- `pneuma ingest` as a user calls it: messages and exit codes; phantoms; and the
# 339 files of rsna_mini and the real file, where ../shared/data is there.
set -u
. "$SOURCE_DIR/tests/lib.sh"
same() { diff -rq "$1" "$2" > diff.txt || say "$1 and $2 differ: $(head -3 diff.txt)"; }

"$PNEUMA" ingest nowhere out.none > out.txt 2> err.txt
[ $? = 2 ] || say 'missing folder: exit code is not 2'
has err.txt 'nowhere is not a folder'
rm -rf empty && mkdir empty
"$PNEUMA" ingest empty out.none --json > out.txt 2> err.txt
[ $? = 2 ] || say 'folder without labels: exit code is not 2'
has err.txt 'not recognised.*stage_2_train_labels.csv.*ingest.labels=FILE'
has out.txt '"error"'
"$PNEUMA" ingest empty out.none --size 0 > out.txt 2> err.txt && say '--size 0 was taken'

if ! "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK'; then
  echo 'skipped: this build has no DCMTK'
  exit $((failures ? 1 : 77))
fi

rm -rf phantom shards.1 shards.2
"$PNEUMA" synth phantom --images 24 --seed 5 > out.txt 2> err.txt || say "synth: $(cat err.txt)"
"$PNEUMA" ingest phantom shards.1 --size 64 --json > one.json 2> err.txt || say "ingest: $(cat err.txt)"
"$PNEUMA" ingest phantom out.none --size 64 ingest.only=normal > out.txt 2> err.txt && say 'ingest.only was taken for the layout of the RSNA set'
has err.txt 'two classes, normal and opacity'
has one.json '"listed": 24'
has one.json '"written": 24'
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" ingest phantom shards.2 --size 64 > two.txt 2> err.txt || say "2 ranks: $(cat err.txt)"
same shards.1 shards.2
: > phantom/stage_2_train_images/zero.dcm
"$PNEUMA" ingest phantom shards.1 --size 64 > out.txt 2> err.txt
[ $? = 2 ] || say 'another input into the same folder: exit code is not 2'
has err.txt 'made from other files or options'
rm -rf shards.3
"$PNEUMA" ingest phantom shards.3 ingest.max_rejects=0 > out.txt 2> err.txt
[ $? = 1 ] || say 'too many rejects: exit code is not 1'
has shards.3/rejects.csv 'zero.dcm",empty_file'
[ -e shards.3/index.json ] && say 'a failed ingest was published'

data=$SOURCE_DIR/../shared/data
if [ ! -d "$data/rsna_mini" ]; then
  echo "skipped: the part with real images needs $data"
else
  rm -rf mini.1 mini.3 real
  "$PNEUMA" ingest "$data/rsna_mini" mini.1 --json > mini.json 2> err.txt || say "rsna_mini: $(cat err.txt)"
  for word in '"listed": 339' '"written": 339' '"rejected": 0' '"normal": 210' '"opacity": 129'; do has mini.json "$word"; done
  "$MPIEXEC" -n 3 --bind-to none "$PNEUMA" ingest "$data/rsna_mini" mini.3 > out.txt 2> err.txt || say "3 ranks: $(cat err.txt)"
  same mini.1 mini.3
  # no patient id, UID or source text in what was written
  for id in $(ls "$data/rsna_mini/stage_2_train_images" | head -20 | sed 's/\.dcm//') 1.2.276.0 2.25.3 "NIH PNG"; do
    grep -qaF "$id" mini.1/* && say "'$id' of the source is in the output"
  done
  printf 'patientId,x,y,width,height,Target\n16d7f894-55d7-4d95-8957-d18987f0e981,,,,,0\n' > real.csv
  "$PNEUMA" ingest "$data/rsna_real" real ingest.labels=real.csv --json > real.json 2> err.txt || say "rsna_real: $(cat err.txt)"
  has real.json '"written": 1'
fi
finish ingest
