#!/usr/bin/env python3
"""check_layers.py -- the rules of the house (docs/architecture.md) that a machine can check.

Rooms include only rooms to their left; a library's headers appear only in its own room;
#ifdef PN_WITH_* only in registries. Exit status 1 and one line per breach."""
import pathlib
import re
import sys

ORDER = [["base"], ["tensor"], ["comm"], ["device"], ["nn"], ["optim", "models"], ["parallel"], ["data"],
         ["train"], ["report", "interop", "serve"], ["cli"]]
ANYWHERE = {"prof"}           # timers and statistics: may be included from everywhere, include base only
LIBRARIES = [                 # header, files that may include it
    (r"mpi\.h", r"src/comm/.*|src/main\.c"),
    (r"(cuda|cudnn|cublas|nccl|nvml).*\.h", r"cuda/.*"),
    (r"(oneapi/dnnl/)?dnnl.*\.h", r"src/device/onednn/.*"),
    (r"dcmtk/.*", r"src/data/dicom_dcmtk.*|src/serve/dicom_node\.cc"),
    (r"hdf5.*\.h|H5.*\.h", r"src/data/shard_.*|src/train/checkpoint\w*\.c|src/interop/keras_h5\.c"),
    (r"hwloc.*\.h", r"src/comm/place[a-z_]*\.[ch]"),
    (r"yaml\.h", r"src/cli/yaml\.c"),
    (r"jpeglib\.h", r"src/data/jpeg(_encode|_photo)?\.c"),
    (r"png\.h", r"src/data/png(_write)?\.c"),
    (r"openjpeg.*\.h", r"src/data/jpeg2000_openjpeg\.c"),
    (r"zlib\.h", r"src/data/dicom_deflate\.c"),
    (r"openssl/.*", r"src/base/digest\.c"),
]
SWITCHES = r"src/device/registry\.c|src/data/(dicom|jpeg2000)_registry\.c|src/comm/.*registry\.c"


def room_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def rank_of(room):
    for i, rooms in enumerate(ORDER):
        if room in rooms:
            return i
    return None


def breaches(path, text):
    room = room_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if m:
            header = m.group(1)
            for pattern, places in LIBRARIES:
                if re.fullmatch(pattern, header) and not re.fullmatch(places, path):
                    yield number, f"{header} belongs to {places}"
            other = header.split("/")[0]
            if room in ANYWHERE and rank_of(other) not in (None, 0):
                yield number, f"{room} may include base only, not {header}"
            if rank_of(room) is not None and rank_of(other) is not None and rank_of(other) > rank_of(room):
                yield number, f"room {room} includes {header}, which lies to its right"
        if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b.*PN_WITH_", line) and not re.fullmatch(SWITCHES, path):
            yield number, "PN_WITH_* outside a registry"


def main():
    top = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    files = [p for room in ("src", "cuda") for p in sorted((top / room).rglob("*"))
             if p.suffix in (".c", ".h", ".cc", ".cu", ".cuh")]
    bad = 0
    for file in files:
        path = file.relative_to(top).as_posix()
        for number, what in breaches(path, file.read_text(errors="replace")):
            print(f"{path}:{number}: {what}")
            bad += 1
    print(f"check_layers: {len(files)} files, {bad} breaches")
    return bad != 0 or not files


if __name__ == "__main__":
    sys.exit(main())
