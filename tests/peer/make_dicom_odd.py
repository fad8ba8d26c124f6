#!/usr/bin/env python3
"""make_dicom_odd.py PROGRAM FOLDER > tests/oracle/dicom_odd.h

Expected values of tests/oracle/test_dicom_odd.c, made by pydicom >= 3 with the plug-ins pylibjpeg,
pylibjpeg-libjpeg, pylibjpeg-openjpeg and pyjpegls (none of them uses DCMTK), and numpy in float64
for PS3.3 C.11.  PROGRAM is the built test: `PROGRAM print` names the files that our reader refuses, and
why; that column is for people to review, the numbers are not ours."""
import csv
import io
import subprocess
import sys
import warnings

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

warnings.simplefilter("ignore")
SAMPLES = 8


def stored_values(ds):
    """First frame as pydicom gives it, then the bits that BitsStored and HighBit name."""
    a = pixel_array(ds, index=0, raw=True).astype(np.int64)
    bits, shift = ds.BitsStored, 0
    if not ds.file_meta.TransferSyntaxUID.is_compressed or "RLE" in ds.file_meta.TransferSyntaxUID.name:
        shift = ds.HighBit - bits + 1
    a = (a >> shift) & ((1 << bits) - 1)
    if ds.PixelRepresentation == 1:
        a = np.where(a >= 1 << (bits - 1), a - (1 << bits), a)
    return a


def groups(ds, name):
    """An attribute of the image, or of the first frame's functional groups."""
    if name in ds:
        return ds[name].value
    for top in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for sub in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if top in ds and ds[top].value and sub in ds[top].value[0]:
                item = ds[top].value[0][sub].value[0]
                if name in item:
                    return item[name].value
    return None


def first(v):
    return None if v is None or v == "" else float(v[0] if isinstance(v, (list, pydicom.multival.MultiValue)) else v)


def voi(ds, x, valid):
    if "VOILUTSequence" in ds and ds.VOILUTSequence:
        item = ds.VOILUTSequence[0]
        n, low, bits = item.LUTDescriptor
        lut = np.asarray(item.LUTData, dtype=np.float64)
        return lut[np.clip(np.round(x - low), 0, len(lut) - 1).astype(int)] / ((1 << bits) - 1)
    c, w = first(groups(ds, "WindowCenter")), first(groups(ds, "WindowWidth"))
    if c is not None:
        kind = groups(ds, "VOILUTFunction") or "LINEAR"
        if kind == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (x - c) / w))
        if kind == "LINEAR_EXACT":
            return np.clip((x - c) / w + 0.5, 0, 1)
        if w == 1:
            return (x > c - 0.5).astype(float)
        return np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)
    low, high = x[valid].min(), x[valid].max()
    return np.clip((x - low) / (high - low), 0, 1) if high > low else np.zeros_like(x)


def grey_image(ds):
    v = stored_values(ds)
    flat = v.reshape(-1)
    weight = (np.arange(flat.size, dtype=np.uint64) * np.uint64(2654435761)) | np.uint64(1)
    total = int((flat.astype(np.int64).view(np.uint64) * weight).sum(dtype=np.uint64))
    x = np.asarray(apply_modality_lut(v, ds), dtype=np.float64)
    if "RescaleSlope" not in ds and groups(ds, "RescaleSlope") is not None:
        x = v * float(groups(ds, "RescaleSlope")) + float(groups(ds, "RescaleIntercept"))
    valid = np.ones(v.shape, bool)
    if "PixelPaddingValue" in ds and ds["PixelPaddingValue"].value is not None:
        p = ds["PixelPaddingValue"].value
        p = int.from_bytes(p, "little") if isinstance(p, bytes) else int(p)
        p &= (1 << ds.BitsStored) - 1
        if ds.PixelRepresentation and p >= 1 << (ds.BitsStored - 1):
            p -= 1 << ds.BitsStored
        valid = v != p
    plain = ds.BitsAllocated == 8 and ds.BitsStored == 8 and not ds.PixelRepresentation
    neutral = np.array_equal(x, v) and groups(ds, "WindowCenter") is None and "VOILUTSequence" not in ds
    y = v / 255.0 if plain and neutral else voi(ds, x, valid)
    if ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE":
        y = 1 - y
    return total, 1.0, np.where(valid, y, 0) * 65535


def colour_image(ds):
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        rgb = apply_color_lut(stored_values(ds).astype(np.uint16), ds).astype(np.float64)
        full = (1 << ds.RedPaletteColorLookupTableDescriptor[2]) - 1
        tolerance = 1.0
    elif ds.PhotometricInterpretation.startswith("YBR_FULL"):
        y = pixel_array(ds, index=0, raw=True)[..., 0].astype(np.float64)
        return 0, 2.1 * 257 if ds.file_meta.TransferSyntaxUID.is_compressed else 1.0, y * 257
    else:
        rgb = pixel_array(ds, index=0).astype(np.float64)
        full = (1 << ds.BitsStored) - 1
        tolerance = 2.1 * 257 if ds.file_meta.TransferSyntaxUID.is_compressed else 1.0  # lossy decoders round
    y = rgb @ np.array([0.299, 0.587, 0.114])
    y = np.round(y) / full if full == 255 else y / full
    return 0, tolerance, y * 65535


def read(path):
    """An overwritten element of the file meta stops pydicom: it is put back first."""
    data = bytearray(open(path, "rb").read())
    if "_meta_glen_" in path:
        data[148:152] = open(path.rsplit("/", 1)[0] + "/fuzz_baseline_BASELINE_valid_ct.dcm", "rb").read()[148:152]
    return pydicom.dcmread(io.BytesIO(bytes(data)), force=True)


def row(name, path):
    ds = read(path)
    if "TransferSyntaxUID" not in ds.file_meta:
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    grey = ds.PhotometricInterpretation.startswith("MONOCHROME")
    total, tolerance, y = grey_image(ds) if grey else colour_image(ds)
    flat, n = y.reshape(-1), y.size
    picks = [flat[(k * n // SAMPLES + 7 * k) % n] for k in range(SAMPLES)]
    values = ", ".join(f"{p:.2f}" for p in picks)
    return f'{{"{name}", "", {ds.Rows}, {ds.Columns}, {total}ULL, {tolerance:.1f}, {y.mean():.3f}, {{{values}}}}}'


def main():
    program, folder = sys.argv[1:3]
    ours = dict(l.split("\t") for l in subprocess.run([program, "print"], capture_output=True, text=True).stdout.splitlines())
    print("/* Made by tests/peer/make_dicom_odd.py: do not edit. */")
    print("/* clang-format off */\nstatic const expected table[] = {")
    for r in csv.DictReader(open(folder + "/MANIFEST.csv")):
        name, reason = r["file"], ours.get(r["file"], "?")
        if not reason:
            try:
                print("    " + row(name, f"{folder}/{name}") + f",")
                continue
            except Exception as e:  # our reader takes what the peer does not: shown for review
                print(name, type(e).__name__, str(e)[:150], file=sys.stderr)
                reason = "NOT CHECKED"
        print(f'    {{"{name}", "{reason}", 0, 0, 0, 0, 0, {{0}}}},')
    print("};\n/* clang-format on */")


main()
