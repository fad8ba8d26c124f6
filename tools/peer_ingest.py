#!/usr/bin/env python3
"""The pydicom + Pillow side of bench_ingest: read, decode, area average; one core, nothing written.

Usage: peer_ingest.py SIDE FILE...   Answers one line to each command on stdin:
  (start)  ready VERSIONS
  run      SECONDS CPU_SECONDS SUM_OF_PIXELS
  quit     (ends)
"""
import sys
import time

import numpy
import PIL
import pydicom
from PIL import Image


def convert(path, side):
    data = pydicom.dcmread(path).pixel_array
    image = Image.fromarray(data).resize((side, side), Image.BOX)
    return int(numpy.asarray(image, dtype=numpy.uint64).sum())


def main():
    side, files = int(sys.argv[1]), sys.argv[2:]
    print(f"ready pydicom {pydicom.__version__}, Pillow {PIL.__version__}", flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        wall, cpu = time.monotonic(), time.process_time()
        total = sum(convert(path, side) for path in files)
        print(f"{time.monotonic() - wall:.6f} {time.process_time() - cpu:.6f} {total}", flush=True)


main()
