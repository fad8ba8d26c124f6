#!/bin/bash
# test_flip.sh -- eval.flip: the probabilities are the mean of two separate answers, to the images and to mirrored copies of them, and
# the metrics are those of the mean; sigmoid and softmax heads, eval and predict, 1 and 2 ranks.
set -u
command -v python3 > /dev/null || { echo 'no python3: skipped'; exit 77; }
. "$SOURCE_DIR/tests/lib.sh"

rm -rf images mirrored shards* run-*
# 144 colour images of 3 classes: a blob left, centred or right, so that a mirror image is often another class; of odd width.
must python3 - << 'EOF'
import os, random, struct, zlib
random.seed(5)
W, H = 17, 16
def png(path, rows):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    raw = b"".join(b"\0" + bytes(v for px in row for v in px) for row in rows)
    chunk = lambda t, d: struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
    open(path, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 0))
                           + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
for k, (name, x0) in enumerate([("left", 3), ("middle", 8), ("right", 13)]):
    for i in range(48):
        cx = x0 + random.randint(-3, 3)
        rows = [[tuple(min(255, random.randint(0, 150) + (80 if abs(x - cx) < 3 and 4 < y < 12 else 0)) for _ in range(3))
                 for x in range(W)] for y in range(H)]
        png("images/%s/%02d.png" % (name, i), rows)
        png("mirrored/%s/%02d.png" % (name, i), [row[::-1] for row in rows])
EOF
for kind in images mirrored; do
  must "$PNEUMA" ingest $kind shards-3-$kind --size 16x17 ingest.channels=3 ingest.test=0.4
  must "$PNEUMA" ingest $kind shards-2-$kind --size 16x17 ingest.channels=3 ingest.test=0.4 ingest.only=left,right
done
train() { must "$PNEUMA" train model.filters1=4 model.filters2=6 model.hidden=12 train.epochs=4 train.batch=16 optim.lr=0.005 "$@"; }
train data.path=shards-3-images out.path=run-3
train data.path=shards-2-images out.path=run-2 model.head=sigmoid

# What eval and predict say of the classes in $1, against what is worked out here from their answers without the option.
for n in 2 3; do
  must "$PNEUMA" eval run-$n eval.scores=plain.csv
  must "$PNEUMA" eval run-$n data.path=shards-$n-mirrored eval.scores=other.csv
  must "$PNEUMA" eval run-$n eval.flip=true eval.scores=flip.csv --json
  cp out.txt flip.json
  must mpi 2 "$PNEUMA" eval run-$n eval.flip=true eval.scores=flip2.csv
  has out.txt 'each image with its mirror image'
  cmp -s flip.csv flip2.csv || say '2 ranks answer otherwise'
  mapfile -t files < <(find images -name '*.png' | LC_ALL=C sort)
  must "$PNEUMA" predict run-$n "${files[@]}" predict.out=p.csv
  must "$PNEUMA" predict run-$n "${files[@]/images/mirrored}" predict.out=q.csv
  must mpi 2 "$PNEUMA" predict run-$n "${files[@]}" --json eval.flip=true
  cp out.txt predict.json
  must "$PNEUMA" predict run-$n "${files[@]}" eval.flip=true predict.out=f.csv
  python3 - << 'EOF' || say "run-$n: see above"
import csv, json, math
def table(path, skip):
    rows = list(csv.reader(open(path)))
    return [(r[0], r[1], [float(v) for v in r[2:len(r) - skip]]) for r in rows[1:]], rows[0][2:len(rows[0]) - skip]
def check(what, a, b, tol):
    assert abs(a - b) <= tol, "%s: %r is not %r" % (what, a, b)
for plain, other, flip, skip in (("plain.csv", "other.csv", "flip.csv", 0), ("p.csv", "q.csv", "f.csv", 1)):
    (a, names), (b, _), (f, _) = (table(p, skip) for p in (plain, other, flip))
    assert len(a) == len(b) == len(f) > 20, (len(a), len(b), len(f))
    for (i, c, x), (j, d, y), (k, e, z) in zip(a, b, f):
        assert k == i and (skip or (c == d == e and i == j)), (i, j, k)
        for u, v, w in zip(x, y, z): check("%s of %s" % (flip, i), w, (u + v) / 2, 2e-6)
    moved = max(abs(u - v) for (_, _, x), (_, _, y) in zip(a, b) for u, v in zip(x, y))
    assert moved > 0.05, "images and mirror images have the same answers: nothing is tested"
    if skip:
        said = json.load(open("predict.json"))
        assert said["flip"] is True
        for (i, c, z), r in zip(f, said["results"]):
            assert r["file"] == i and r["class"] == c == names[max(range(len(z)), key=z.__getitem__)][2:], (i, c, r)
            for name, w in zip(names, z): check("json of " + i, r["probabilities"][name[2:]], w, 1e-6)
        continue
    said = json.load(open("flip.json"))
    assert said["flip"] is True
    right = sum(names[max(range(len(z)), key=z.__getitem__)] == "p_" + c for _, c, z in f)
    loss = sum(-math.log(z[names.index("p_" + c)]) for _, c, z in f)
    check("accuracy", said["metrics"]["accuracy"], right / len(f), 1e-9)
    check("loss", said["metrics"]["loss"], loss / len(f), 1e-4)
EOF
done
must "$PNEUMA" eval run-2 --json
has out.txt '"flip": false'

[ $failures = 0 ] && echo 'flip: all as expected'
finish flip
