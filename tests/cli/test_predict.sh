#!/bin/bash
# test_predict.sh -- predict reads files as ingest did: the probabilities are those that eval gives the same images, for DICOM (one
# channel, sigmoid) and for PNG (three channels, three classes, softmax, letterbox); on 1 and 2 ranks; rejected files; JSON.
set -u
. "$SOURCE_DIR/tests/lib.sh"

# The images of the data set are the files in the order of their names: image number i is file i (nothing was rejected).
# compare SCORES.csv ANSWERS.csv: every scored image has the same probabilities in the line of its file.
compare() {
  awk -F, 'NR == FNR { if (FNR > 1) { n++; s[$1] = $0 } ; next }
    FNR > 1 && (FNR - 2) in s { split(s[FNR - 2], a, ",");
      for (k = 3; k <= NF - 1; k++) { d = a[k] - $k; if (d > 1e-6 || d < -1e-6) { print "image " FNR - 2 ": " a[k] " is not " $k; bad = 1 } }
      seen++ }
    END { if (seen != n || n == 0) { print seen " of " n " images"; bad = 1 } exit bad }' "$1" "$2" || say "$1 and $2 differ"
}

rm -rf phantom shards run-* color colors bad.dcm inside?.jpg
must "$PNEUMA" synth phantom --images 40 --seed 5
must "$PNEUMA" ingest phantom shards --size 24
must "$PNEUMA" train data.path=shards model.filters1=3 model.filters2=4 model.hidden=8 train.epochs=2 train.batch=8 out.path=run-1
mapfile -t files < <(find phantom -name '*.dcm' | LC_ALL=C sort)
for split in train val test; do must "$PNEUMA" eval run-1 --split $split eval.scores=$split.csv; done
must "$PNEUMA" predict run-1 "${files[@]}"
cp out.txt one.csv
[ "$(wc -l < one.csv)" = 41 ] || say "41 lines expected: $(head -n 3 one.csv)"
for split in train val test; do compare $split.csv one.csv; done
must mpi 2 "$PNEUMA" predict run-1 "${files[@]}" predict.out=two.csv
cmp -s one.csv two.csv || say "2 ranks answer otherwise: $(diff one.csv two.csv | head -n 4)"
[ -s out.txt ] && say 'predict.out, but something on stdout'

# a file that is no image has a row and a reason; nothing but such files is a failure
head -c 1000 "${files[0]}" > bad.dcm
must "$PNEUMA" predict run-1 bad.dcm "${files[0]}" missing.png
has out.txt '^bad.dcm,,,,[a-z_]+$'
has out.txt '^missing.png,,,,[a-z_]+$'
has err.txt '2 of 3 files are rejected; the first is bad.dcm'
"$PNEUMA" predict run-1 bad.dcm > out.txt 2> err.txt && say 'a broken file alone was no failure'
has err.txt 'no file could be read'
must "$PNEUMA" predict run-1 "${files[0]}" bad.dcm --json
for word in '"class": "' '"probabilities": \{' '"rejected": 1' '"reason": "' '"checkpoint": "run-1/checkpoints/step_'; do has out.txt "$word"; done
[ "$(head -n 1 out.txt)" = '{' ] || say 'predict --json: not one object'
"$PNEUMA" predict shards "${files[0]}" > out.txt 2> err.txt && say 'a folder that is no run was taken'
has err.txt 'holds no checkpoint'

# three channels, three classes, softmax: the class is the colour
if command -v python3 > /dev/null; then
  # the picture inside a DICOM file, as a JPEG file
  must python3 - "${files[@]:0:3}" << 'EOF'
import sys
for i, path in enumerate(sys.argv[1:]):
    data = open(path, "rb").read()
    open("inside%d.jpg" % i, "wb").write(data[data.index(b"\xff\xd8\xff"):data.rindex(b"\xff\xd9") + 2])
EOF
  must "$PNEUMA" predict run-1 inside0.jpg inside1.jpg inside2.jpg predict.out=jpeg.csv
  [ "$(cut -d, -f2- jpeg.csv)" = "$(head -n 4 one.csv | cut -d, -f2-)" ] || say "JPEG files: $(cat jpeg.csv), in DICOM: $(head -n 4 one.csv)"
  must python3 - << 'EOF'
import os, random, struct, zlib
random.seed(3)
def png(path, w, h, rgb):
    rows = b"".join(b"\0" + bytes(max(0, min(255, c + random.randint(-60, 60))) for _ in range(w) for c in rgb) for _ in range(h))
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
for name, rgb in {"blue": (90, 90, 160), "green": (90, 160, 90), "red": (160, 90, 90)}.items():
    os.makedirs("color/" + name)
    for i in range(24):
        png("color/%s/%02d.png" % (name, i), 20 + i % 5, 20 + i % 7, rgb)
EOF
  must "$PNEUMA" ingest color colors --size 16 ingest.fit=letterbox ingest.channels=3
  must "$PNEUMA" train data.path=colors model.head=softmax model.filters1=4 model.filters2=6 model.hidden=16 optim.lr=0.01 train.epochs=8 train.batch=8 train.label_smoothing=0.05 train.balance=weights out.path=run-2 --json
  has out.txt '"channels": 3|"n": '
  must "$PNEUMA" eval run-2 --json
  accuracy=$(grep -m 1 -oE '"accuracy": [0-9.]+' out.txt | cut -d' ' -f2)
  awk -v a="$accuracy" 'BEGIN { exit !(a > 0.9) }' || say "3 colours: accuracy $accuracy"
  mapfile -t files < <(find color -name '*.png' | LC_ALL=C sort)
  must "$PNEUMA" predict run-2 "${files[@]}"
  cp out.txt colors.csv
  has colors.csv '^file,class,p_blue,p_green,p_red,rejected$'
  for split in train val test; do
    must "$PNEUMA" eval run-2 --split $split eval.scores=$split.csv
    compare $split.csv colors.csv
  done
  right=$(awk -F, 'NR > 1 { split($1, part, "/"); n += part[2] == $2 } END { print n }' colors.csv)
  [ "$right" -ge 65 ] || say "$right of 72 colours are right"
else
  echo 'no python3: the part on PNG is not tested'
fi

finish predict
