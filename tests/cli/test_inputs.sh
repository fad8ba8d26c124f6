#!/bin/bash
# test_inputs.sh -- `pneuma ingest` on real sets of every kind (../shared/data): what auto finds, the
# account, the same bytes at 1, 2 and 3 ranks; 1024 x 1024 PNGs pixel by pixel against Pillow.
set -u
. "$SOURCE_DIR/tests/lib.sh"
# ingest NAME RANKS IN ARGUMENTS...: shards to NAME.RANKS, JSON to NAME.json, the log to err.txt
ingest() {
  local name=$1 ranks=$2 in=$3
  shift 3
  "$MPIEXEC" -n "$ranks" --bind-to none "$PNEUMA" ingest "$in" "$name.$ranks" --json "$@" > "$name.json" 2> err.txt ||
    say "$name at $ranks ranks: $(cat err.txt)"
}
equal() {
  local name=$1
  for ranks in 2 3; do
    ingest "$name" "$ranks" "${@:2}"
    diff -rq "$name.1" "$name.$ranks" > diff.txt || say "$name: 1 and $ranks ranks differ: $(head -3 diff.txt)"
  done
}

data=$SOURCE_DIR/../shared/data
if [ ! -d "$data/chest3" ]; then
  echo "skipped: needs $data"
  exit 77
fi
rm -rf -- *.1 *.2 *.3 cifar

ingest chest3 1 "$data/chest3" --size 64 ingest.test_fold=4
has err.txt 'is of kind csv: PNG or JPEG files and the labels CSV .*chest3/labels.csv'
has err.txt 'channels: 1 \(0 of 32 pictures'
for word in '"kind": "csv"' '"listed": 1244' '"written": 1242' '"duplicates": 1' '"skipped": 1' '"rejected": 0' \
  '"covid": 243' '"pneumonia": 500' '"leaks": 0' '"labels_without_file": 0'; do has chest3.json "$word"; done
[ "$(grep -oE '"test": [0-9]+' chest3.json)" = "\"test\": $(grep -c ',4$' "$data/chest3/labels.csv")" ] ||
  say "the test split is not fold 4: $(cat chest3.json)"
equal chest3 "$data/chest3" --size 64 ingest.test_fold=4
has err.txt 'class covid: the view alone tells its images from all others'
has chest3.1/report.md '^\| covid \| view \| 1.000 \|$'
grep -qE '"class": "(normal|pneumonia)"' chest3.1/index.json && say 'normal and pneumonia are of one source'
for text in 024e7871 fff13f3a N00710 Hannover "CC BY"; do # patients, files and free text of the CSV
  grep -qaF -- "$text" chest3.1/shard-* chest3.1/index.json && say "'$text' of the source is in the output"
done

ingest binary 1 "$data/chest3" --size 32 ingest.only=normal,covid
for word in '"normal": 499' '"covid": 243' '"written": 742' '"skipped": 501'; do has binary.json "$word"; done

ingest nih 1 "$data/fullres_nih" --size 1024 "ingest.labels=$data/chest3/labels.csv" ingest.shard_mb=64
has err.txt 'no image of class covid was written'
for word in '"written": 12' '"normal": 4' '"pneumonia": 8'; do has nih.json "$word"; done
peer=/opt/peer/bin/python
if [ -x $peer ]; then
  $peer - nih.1 "$data/fullres_nih" << 'PY' || say 'pixels differ from those of Pillow'
import glob, os, sys
import h5py, numpy as np
from PIL import Image
stored = {im.tobytes() for f in glob.glob(sys.argv[1] + "/*.h5") for im in h5py.File(f)["images"][:]}
names = os.listdir(sys.argv[2])
want = {np.asarray(Image.open(os.path.join(sys.argv[2], n)).convert("RGB"))[:, :, 1].tobytes() for n in names}
sys.exit(0 if len(want) == len(names) == 12 and stored == want else 1)
PY
else
  echo "skipped: the comparison with Pillow needs $peer"
fi

"$PNEUMA" ingest "$data/cifar10/cifar10_jpeg.tar.xz" none > out.txt 2> err.txt && say 'an archive was taken'
has err.txt 'not a folder but an archive \(xz\): unpack it with `tar -xf'
mkdir cifar && tar -xf "$data/cifar10/cifar10_jpeg.tar.xz" -C cifar test
ingest cifar 1 cifar --size 32
has err.txt 'is of kind folders: no labels CSV, 10 class folders below train, val or test: airplane \(1000\)'
for word in '"written": 10000' '"channels": 3' '"truck": 1000' '"test": 10000'; do has cifar.json "$word"; done

if "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK'; then
  ingest odd 1 "$data/dicom_odd" --size 32 ingest.columns=path=file,label=expected
  for word in '"kind": "dicom"' '"listed": 151' '"readable":'; do has odd.json "$word"; done
  equal odd "$data/dicom_odd" --size 32 ingest.columns=path=file,label=expected
else
  echo 'skipped: the DICOM part; this build has no DCMTK'
fi
finish inputs
