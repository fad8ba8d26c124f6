#!/bin/bash
# test_privacy_tables.sh -- the same for pictures: names, dates and free text are planted in CSV
# columns, folder and file names and JPEG comments; rejects.csv alone may show them, and only in paths.
set -u
. "$SOURCE_DIR/tests/lib.sh"
if ! command -v h5dump > /dev/null || ! "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK'; then
  echo 'skipped: needs h5dump (hdf5-tools) and a build with DCMTK'
  exit 77
fi
rm -rf phantom in.* out.* log.*
"$PNEUMA" synth phantom --images 10 --seed 9 > log.synth 2>&1 || say "synth: $(cat log.synth)"

picture() { # picture DICOM OUT: its JPEG stream, with a comment behind the start marker
  local at
  at=$(LC_ALL=C grep -obUaP '\xff\xd8\xff' "$1" | head -1 | cut -d: -f1)
  { printf '\xff\xd8\xff\xfe\x00\x15FREETEXTcomment1234'; tail -c "+$((at + 3))" "$1"; } > "$2"
}
planted=(Zaphodson Quentin 19610203 FREETEXT Sonnenallee MRN4711 Grimaldus)
mkdir -p in.csv/Zaphodson_Quentin in.folders/{ill,well}/MRN4711
echo 'path,diagnosis,patient,name,birth date,address,notes,sex,age,view,physician' > in.csv/labels.csv
n=0
for f in phantom/stage_2_train_images/*.dcm; do
  n=$((n + 1))
  class=$([ $((n % 2)) = 0 ] && echo ill || echo well)
  name=Zaphodson_Quentin_19610203_$n.jpg
  picture "$f" "in.csv/Zaphodson_Quentin/$name"
  cp "in.csv/Zaphodson_Quentin/$name" "in.folders/$class/MRN4711/$name"
  echo "Zaphodson_Quentin/$name,$class,Zaphodson^Quentin $((n / 2)),\"Zaphodson, Quentin\",19610203,Sonnenallee 77,\"FREETEXT, cough\",F Quentin,$((90 + n)),Zaphodson,Dr Grimaldus" >> in.csv/labels.csv
done
# what is rejected, skipped or a duplicate gets a line, and that line must not say more than paths
for in in in.csv/Zaphodson_Quentin in.folders/ill/MRN4711; do
  printf 'Zaphodson FREETEXT' > $in/Zaphodson_broken.jpg
  cp "$(ls -d $in/*_2.jpg)" $in/Zaphodson_copy.jpg
  printf 'x' > $in/Zaphodson_letter.txt
done
cp phantom/stage_2_train_images/"$(ls phantom/stage_2_train_images | head -1)" in.csv/Zaphodson_Quentin/Grimaldus.dcm
cat >> in.csv/labels.csv << 'CSV'
Zaphodson_Quentin/Zaphodson_broken.jpg,ill,Quentin,Zaphodson,,,FREETEXT,,,,Grimaldus
Zaphodson_Quentin/Zaphodson_copy.jpg,ill,Quentin,Zaphodson,,,FREETEXT,,,,Grimaldus
Zaphodson_Quentin/Grimaldus.dcm,,Quentin,Zaphodson,,,FREETEXT,,,,Grimaldus
Zaphodson_Quentin/gone.jpg,well,Quentin,Zaphodson,,,FREETEXT,,,,Grimaldus
CSV

for kind in csv folders; do
  "$MPIEXEC" -n 2 --bind-to none "$PNEUMA" ingest in.$kind out.$kind --size 32 --json > log.$kind.json 2> log.$kind || say "$kind: $(cat log.$kind)"
  grep -q "\"kind\": \"$kind\"" log.$kind.json || say "$kind: taken for another kind"
  grep -q '"written": 10' log.$kind.json || say "$kind: $(cat log.$kind.json)"
  grep -q '"duplicates": 1' log.$kind.json || say "$kind: $(cat log.$kind.json)"
  "$PNEUMA" verify out.$kind > log.$kind.verify 2>&1 || say "verify $kind"
  grep -q 'Zaphodson_broken.jpg' out.$kind/rejects.csv || say "$kind: rejects.csv does not name the broken file"
  # paths out of it, and nothing planted is left
  sed -E 's/^"[^"]*"//; s/"same as [^"]*"//' out.$kind/rejects.csv > log.$kind.rejects
  mv out.$kind/rejects.csv moved.$kind.csv
  for word in "${planted[@]}"; do
    grep -rqaF -- "$word" out.$kind log.$kind* && say "$kind: '$word' is in $(grep -rlaF -- "$word" out.$kind log.$kind* | tr '\n' ' ')"
  done
  mv moved.$kind.csv out.$kind/rejects.csv
done
for what in view sex age; do grep -q "^No image says its $what\.$" out.folders/report.md || say "report.md on $what: $(cat out.folders/report.md)"; done
grep -qaF FREETEXTcomment in.csv/Zaphodson_Quentin/*_1.jpg || say 'nothing was planted in the pictures'
# 91 to 100 years are 90; F, and no view
for shard in out.csv/shard-*.h5; do h5dump -d /meta "$shard" || say h5dump; done > meta.txt
[ "$(grep -cE '^ +90,$' meta.txt)" = 10 ] || say "ages over 90 are not stored as 90: $(cat meta.txt)"
grep -qE '^ +(9[1-9]|100),$' meta.txt && say 'an age over 90 was stored'
finish privacy_tables
