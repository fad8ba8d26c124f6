#!/bin/bash
# test_privacy.sh -- nothing that names a patient leaves the source: names, dates, UIDs, free text and
# private tags are planted in DICOM headers, then looked for in all that ingest writes and prints.
set -u
. "$SOURCE_DIR/tests/lib.sh"
if ! command -v dcmodify > /dev/null || ! command -v h5dump > /dev/null || ! "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK'; then
  echo 'skipped: needs dcmodify (package dcmtk), h5dump (hdf5-tools) and a build with DCMTK'
  exit 77
fi
rm -rf in out
"$PNEUMA" synth in --images 12 --seed 9 > log.txt 2>&1 || say "synth: $(cat log.txt)"
planted=(Zaphodson^Quentin 19610203 Hospital^Zebedee ACC7777123 Dr^Grimaldus STUDYID4711 FREETEXTcough PRIVATEsecret
  1.2.840.99999.77.1 1.2.840.99999.77.2 1.2.840.99999.77.3 101Y Sonnenallee77 19991231)
for f in in/stage_2_train_images/*.dcm; do
  dcmodify -q -nb -i '(0010,0010)=Zaphodson^Quentin' -i '(0010,0030)=19610203' -i '(0008,0080)=Hospital^Zebedee' \
    -i '(0008,0050)=ACC7777123' -i '(0008,0090)=Dr^Grimaldus' -i '(0020,0010)=STUDYID4711' -i '(0010,4000)=FREETEXTcough' \
    -i '(0009,0010)=PRIVATEsecret' -i '(0020,000d)=1.2.840.99999.77.1' -i '(0020,000e)=1.2.840.99999.77.2' \
    -i '(0010,1010)=101Y' -i '(0010,1040)=Sonnenallee77' -i '(0008,0020)=19991231' -i '(0020,4000)=FREETEXTcough' "$f" || say "dcmodify $f"
done
n=0 # one UID each, and a file with a bad header: its reject line must not show names either
for f in in/stage_2_train_images/*.dcm; do
  n=$((n + 1))
  dcmodify -q -nb -gin -i "(0008,0018)=1.2.840.99999.77.3.$n" "$f" 2> /dev/null || dcmodify -q -nb -i "(0008,0018)=1.2.840.99999.77.3.$n" "$f"
done
first=$(ls in/stage_2_train_images/*.dcm | head -1)
dcmodify -q -nb -i '(0028,0010)=0' "$first"
grep -qaF 'Zaphodson^Quentin' "$first" || say 'nothing was planted: the test would show nothing'
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" ingest in out --size 32 --json > out.json 2> log.txt || say "ingest: $(cat log.txt)"
grep -q '"rejected": 1' out.json || say "not one file rejected: $(cat out.json)"
"$PNEUMA" verify out > verify.txt 2>> log.txt || say 'verify'
ids=$(ls in/stage_2_train_images | sed 's/\.dcm//')
for word in "${planted[@]}" ; do
  grep -rqaF -- "$word" out out.json log.txt verify.txt && say "'$word' of the source is in the output: $(grep -rlaF -- "$word" out out.json log.txt verify.txt)"
done
# ids of images are hashed; rejects.csv alone names source files, by their path
for id in $ids; do
  grep -qaF -- "$id" out/*.h5 out/index.json out/report.md out/preview.png log.txt && say "the id $id is in the output"
done
# 101 years are stored as 90
h5dump -d /meta out/shard-00000.h5 > meta.txt || say 'h5dump'
[ "$(grep -cE '^ +90,$' meta.txt)" = "$(grep -cE '^ +"(PA|AP)"$' meta.txt)" ] && grep -qE '^ +90,$' meta.txt || say "an age of 101 is not stored as 90: $(cat meta.txt)"
grep -qw 101 meta.txt && say 'an age above 90 was stored'
finish privacy
