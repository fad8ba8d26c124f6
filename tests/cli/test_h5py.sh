#!/bin/bash
# test_h5py.sh -- another program reads the shards by docs/shards.md alone: h5py, with Python's own
# SHA-256 and a CRC-32C of its own; 1 and 3 channels, 8 and 16 bits.  And it notices a changed byte.
set -u
. "$SOURCE_DIR/tests/lib.sh"
python=
for p in "${PN_PEER_PYTHON:-/opt/peer/bin/python}" python3; do
  command -v "$p" > /dev/null && "$p" -c 'import h5py, numpy' 2> /dev/null && python=$p && break
done
if [ -z "$python" ] || ! "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK'; then
  echo 'skipped: needs a Python with h5py (PN_PEER_PYTHON, /opt/peer/bin/python or python3) and a build with DCMTK'
  exit 77
fi
rm -rf phantom set.*
"$PNEUMA" synth phantom --images 20 --seed 11 > log.txt 2>&1 || say "synth: $(cat log.txt)"
for format in '8 1' '16 1' '8 3' '16 3'; do
  read -r bits channels <<< "$format"
  out=set.$bits.$channels
  "$PNEUMA" ingest phantom "$out" --size 32x24 ingest.bits="$bits" ingest.channels="$channels" --json > out.json 2> log.txt ||
    say "ingest $format: $(cat log.txt)"
  "$python" "$SOURCE_DIR/tests/peer/read_shards.py" "$out" > read.txt 2>&1 || say "$format: $(tail -3 read.txt)"
  digest=$(grep -oE '"digest": "[0-9a-f]+"' out.json | cut -d'"' -f4)
  [ -n "$digest" ] && grep -q "$digest" read.txt || say "$format: read $(cat read.txt), written $digest"
done
# the last byte of the first image, and one of a column
offset=$("$python" -c "import h5py; f = h5py.File('set.8.1/shard-00000.h5'); print(f['images'].id.get_offset() + 32 * 24 - 1, f['boxes'].id.get_offset())")
for at in $offset; do
  cp set.8.1/shard-00000.h5 good.h5
  printf '\125' | dd of=set.8.1/shard-00000.h5 bs=1 seek="$at" conv=notrunc status=none
  cmp -s good.h5 set.8.1/shard-00000.h5 && printf '\252' | dd of=set.8.1/shard-00000.h5 bs=1 seek="$at" conv=notrunc status=none
  "$python" "$SOURCE_DIR/tests/peer/read_shards.py" set.8.1 > read.txt 2>&1 && say "a changed byte at $at was not noticed"
  "$PNEUMA" verify set.8.1 > verify.txt 2>&1 && say "verify did not notice a changed byte at $at"
  cp good.h5 set.8.1/shard-00000.h5
done
finish h5py
