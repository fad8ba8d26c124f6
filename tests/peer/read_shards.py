"""read_shards.py SHARDS -- reads a data set with h5py by docs/shards.md alone, checks every checksum
with Python's own libraries, and prints what `pneuma ingest --json` counts."""
import hashlib
import json
import os
import sys

import h5py
import numpy as np

TABLE = [0] * 256
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    TABLE[i] = c


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


def column_bytes(f, name):
    a = f[name][:]
    return a.astype(a.dtype.newbyteorder("<")).tobytes()


def check_index(folder):
    with open(os.path.join(folder, "index.json"), encoding="utf-8") as f:
        index = json.load(f)
    assert index["format"] == "pneuma-shards" and index["version"] == 2
    return index


def check_shard(path, entry, index):
    pixel = "<u1" if index["bits"] == 8 else "<u2"
    shape = (entry["images"], index["channels"], index["height"], index["width"])
    if index["channels"] == 1:
        shape = shape[:1] + shape[2:]
    with h5py.File(path, "r") as f:
        images = f["images"]
        assert images.shape == shape and images.dtype == np.dtype(pixel), (images.shape, images.dtype)
        assert images.chunks is None
        assert images.id.get_offset() % 4096 == 0 or images.nbytes < 4096
        names = ["label", "crc32c", "sha256", "box_start", "boxes", "id", "meta"]
        assert sorted(f) == sorted(names + ["images"]), sorted(f)
        n, boxes = entry["images"], f["boxes"].shape[0]
        want = {"label": ((n,), "<u1"), "crc32c": ((n,), "<u4"), "sha256": ((n, 32), "<u1"),
                "box_start": ((n + 1,), "<u4"), "boxes": ((boxes, 5), "<f4")}
        for name, (size, kind) in want.items():
            assert f[name].shape == size and f[name].dtype == np.dtype(kind), name
        meta = f["meta"]
        assert set(meta.dtype.names) == {"height", "width", "spacing_mm", "age", "warnings", "sex",
                                         "inverted", "view"}, meta.dtype
        assert meta.dtype["spacing_mm"].shape == (2,) and meta.dtype["age"] == np.dtype("<i2")
        assert f["id"].shape == (n,) and len(f["id"][0]) == 32
        assert (f["label"][:] < len(index["classes"])).all() and (meta["age"][:] <= 90).all()
        start = f["box_start"][:]
        assert start[0] == 0 and start[-1] == boxes and (np.diff(start.astype(int)) >= 0).all()
        for i in range(n):
            data = images[i].astype(pixel).tobytes()
            assert hashlib.sha256(data).digest() == f["sha256"][i].tobytes(), i
            assert crc32c(data) == f["crc32c"][i], i
        digest = hashlib.sha256()
        for name in ["sha256", "label", "box_start", "boxes", "id", "meta"]:
            digest.update(column_bytes(f, name))
        assert digest.hexdigest() == entry["sha256"], path
        assert [crc32c(column_bytes(f, name)) for name in names] == list(f.attrs["column_crc32c"])
        text = {k: f.attrs[k].decode() if isinstance(f.attrs[k], bytes) else str(f.attrs[k])
                for k in ["format", "classes", "plan"]}
        assert text == {"format": "pneuma-shard", "classes": ",".join(index["classes"]),
                        "plan": index["plan"]}, text
        kept = np.array([c != "-" for c in entry["split"]])
        return np.bincount(f["label"][:][kept], minlength=len(index["classes"]))


def main():
    folder = sys.argv[1]
    index = check_index(folder)
    total = np.zeros(len(index["classes"]), dtype=int)
    for entry in index["shards"]:
        path = os.path.join(folder, entry["file"])
        assert os.path.getsize(path) == entry["bytes"], path
        total += check_shard(path, entry, index)
    counts = {name: int(k) for name, k in zip(index["classes"], total)}
    assert counts == index["class_counts"], counts
    print("h5py %s: %d shards, %s, %s" % (h5py.__version__, len(index["shards"]), counts, index["digest"]))


main()
