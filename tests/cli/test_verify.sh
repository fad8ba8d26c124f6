#!/bin/bash
# test_verify.sh -- `pneuma verify`: whole shards pass at any number of ranks; one flipped byte of
# pixels, labels, boxes, ids, metadata or index.json is found and named; HDF5's own tools read a shard.
set -u
. "$SOURCE_DIR/tests/lib.sh"

need_dcmtk
rm -rf phantom good good16 bad
"$PNEUMA" synth phantom --images 40 --seed 3 > out.txt 2> err.txt || say "synth: $(cat err.txt)"
"$PNEUMA" ingest phantom good --size 32 > out.txt 2> err.txt || say "ingest: $(cat err.txt)"
"$PNEUMA" ingest phantom good16 --size 32x48 ingest.bits=16 ingest.fit=letterbox > out.txt 2> err.txt || say "ingest, 16 bits: $(cat err.txt)"

for data in good good16; do
  for ranks in 1 3; do
    "$MPIEXEC" -n $ranks --bind-to none "$PNEUMA" verify $data > out.txt 2> err.txt || say "verify $data at $ranks ranks: $(cat out.txt err.txt)"
    has out.txt '40 images'
    has out.txt 'All fits'
  done
done
"$PNEUMA" verify good --json > out.json 2> err.txt || say 'verify --json'
has out.json '"ok": true'
has out.json '"n_problems": 0'
"$PNEUMA" verify nowhere > out.txt 2> err.txt
[ $? = 1 ] || say 'no such folder: exit code is not 1'
has err.txt 'no index.json in nowhere'

# flip FILE OFFSET: change one byte in place
flip() {
  local byte
  byte=$(od -An -tu1 -j "$2" -N1 "$1" | tr -d ' ')
  printf "\\x$(printf %02x $((byte ^ 4)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# finds WHAT FILE OFFSET PATTERN: a copy with one byte changed fails with that message
finds() {
  rm -rf bad && cp -r good bad
  flip "bad/$2" "$3"
  "$PNEUMA" verify bad --json > out.json 2> err.txt
  [ $? = 1 ] || say "$1: exit code is not 1"
  has out.json "$4"
  has out.json '"error"'
  [ "$(wc -l < err.txt)" -le 3 ] || say "$1: more than a line: $(cat err.txt)"
}
shard=shard-00001.h5
if ! command -v h5dump > /dev/null; then
  echo 'skipped: the part with h5dump needs hdf5-tools'
else
  # where a dataset's bytes are in the file, as HDF5 says
  offset() { h5dump -p -H -d "/$1" "good/$shard" | sed -n 's/.*OFFSET \([0-9]*\).*/\1/p' | head -1; }
  finds pixels $shard $(($(offset images) + 32 * 32 * 2 + 77)) '"image": 2,'
  has out.json 'pixels: CRC-32C is'
  has out.json "$shard"
  finds label $shard "$(offset label)" '/label: CRC-32C'
  finds crc $shard $(($(offset crc32c) + 4)) '/crc32c: stored'
  finds sha256 $shard $(($(offset sha256) + 32)) '/sha256: differs, while'
  finds boxes $shard $(($(offset boxes) + 2)) '/boxes: CRC-32C'
  finds box_start $shard $(($(offset box_start) + 4)) '/box_start'
  finds id $shard $(($(offset id) + 5)) '/id: CRC-32C'
  finds meta $shard $(($(offset meta) + 3)) '/meta: CRC-32C'
  h5dump -d /label good/$shard | grep -q 'DATASPACE  SIMPLE' || say 'h5dump does not read /label'
  h5dump -d /meta good/$shard | grep -q '"view"' || say 'h5dump does not read /meta'
  h5dump -a /format good/$shard | grep -q 'pneuma-shard' || say 'h5dump does not read the attribute format'
  h5dump -H good16/$shard | grep -q 'H5T_STD_U16LE' || say '16-bit shard: h5dump says another type'
fi
for word in '"train": ' '"split": "' '"height": ' '"sha256": "' '"digest": "'; do
  at=$(grep -boF -- "$word" good/index.json | head -1 | cut -d: -f1)
  rm -rf bad && cp -r good bad
  flip bad/index.json $((at + ${#word}))
  "$PNEUMA" verify bad > out.txt 2> err.txt
  [ $? = 1 ] || say "index, $word: exit code is not 1"
  has err.txt 'index.json'
done
rm -rf bad && cp -r good bad && rm bad/$shard
"$PNEUMA" verify bad --json > out.json 2> err.txt && say 'a missing shard passed'
has out.json 'cannot open shard'
rm -rf bad && cp -r good bad && truncate -s -5000 bad/$shard
"$PNEUMA" verify bad --json > out.json 2> err.txt && say 'a cut shard passed'
has out.json "$shard"
rm -rf bad && cp -r good bad && cp good/shard-00000.h5 bad/$shard
"$MPIEXEC" -n 2 --bind-to none "$PNEUMA" verify bad --json > out.json 2> err.txt && say 'a swapped shard passed'
has out.json 'not the SHA-256 of the index'
finish verify
