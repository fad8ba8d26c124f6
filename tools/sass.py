#!/usr/bin/env python3
"""What the compiler made of the kernels (cuda/gpu/kernels.cu): one row per kernel, type and width.

    tools/sass.py PROGRAM|OBJECT|CUBIN [--arch sm_90] [--kernel REGEX] [--wide] [--check]

Needs cuobjdump, of the CUDA toolkit or of Python's triton or nvidia-cuda-cuobjdump (PN_CUOBJDUMP names one). Columns:
  regs    registers of a thread; threads: that run at once on an SM of 65536 registers, blocks of 256
  local   bytes of local memory (stack and spills)
  instr   instructions; path: without those behind calls, that is, of slow paths
  ld, st  16-byte accesses of global memory; narrow: shorter ones
  loop    the innermost loop with loads: instructions per 16-byte access (per access, where there are only short ones)
  each    instructions of the path per 16-byte access: for kernels without loops what is issued
  div64   64-bit divisions; div32: 32-bit ones (about 15 instructions each); f64: instructions of double; cvt64: conversions to and from
          64 bits
--check: ends with 1 where a kernel that moves tensors uses local memory, divides 64-bit numbers (16-byte forms), issues more
         instructions per 16-byte access than an H100 has time for, or has too many registers for two blocks at once.
Exit code 77: no cuobjdump, or nothing for this architecture.
"""
import argparse
import collections
import os
import re
import shutil
import subprocess
import sys

FORMS = {"0": "f32", "2": "bf16", "4": "fp16"}
# a warp's 16 bytes x 32 at 3.35 TB/s, 132 SMs of 1.7 GHz: clocks of an SM, in which it issues four instructions each
CLOCKS = 512 / (3.35e12 / 132 / 1.7e9)


def find_cuobjdump():
    """PN_CUOBJDUMP, the search path, the toolkit, or a Python's package."""
    asked = os.environ.get("PN_CUOBJDUMP")
    if asked:
        return asked if os.access(asked, os.X_OK) else None
    places = [shutil.which("cuobjdump"), "/usr/local/cuda/bin/cuobjdump"]
    for prefix in [sys.prefix, "/opt/peer"]:
        for package in ["triton/backends/nvidia/bin", "nvidia/cu13/bin", "nvidia/cuda_cuobjdump/bin"]:
            version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
            places.append(f"{prefix}/lib/{version}/site-packages/{package}/cuobjdump")
    return next((p for p in places if p and os.access(p, os.X_OK)), None)


def dump(tool, path, arch, what):
    """Of a cubin, which has one architecture, or of a program with several."""
    select = [] if path.endswith(".cubin") else ["-arch", arch]
    run = subprocess.run([tool, what, *select, path], capture_output=True, text=True)
    if run.returncode != 0 and "does not contain device code" not in run.stderr + run.stdout:
        sys.exit(f"sass.py: {tool} {what} {path}: {run.stderr.strip()[:200]}")
    return run.stdout


def kernel_name(symbol):
    """(norm_apply, 8, bf16) of _Z17norm_apply_kernelILi8ELi2EEv7cu_normj; other functions: None."""
    m = re.search(r"\d+([a-z]\w*?)_kernelILi(\d)E(?:Li(\d)E)?", symbol)
    return (m[1], int(m[2]), FORMS[m[3] or "0"]) if m else None


def resources(text):
    found = {}
    for symbol, regs, stack, local in re.findall(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text):
        if kernel_name(symbol):
            found[kernel_name(symbol)] = int(regs), int(stack) + int(local)
    return found


def functions(text):
    """Kernel -> [(address, operation, target of a jump or None)]"""
    found, current = {}, None
    for line in text.splitlines():
        m = re.search(r"Function : (\S+)", line)
        if m:
            name = kernel_name(m[1])
            current = found.setdefault(name, []) if name else None
            continue
        m = re.match(r"\s+/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+ )?\s*([A-Z][\w.]*)(.*?);", line)
        if current is None or not m or m[2] == "NOP":
            continue
        jump = re.search(r"(0x[0-9a-f]+)", m[3]) if m[2].startswith(("BRA", "CALL")) else None
        current.append((int(m[1], 16), m[2], int(jump[1], 16) if jump else None))
    return found


def count(code, pattern):
    return sum(1 for _, op, _ in code if re.match(pattern, op))


WIDE, HALF, ANY = r"(LDG|STG)\..*\b(128|256)\b", r"(LDG|STG)\..*\b64\b", r"(LDG|STG)\b"


def main_path(code):
    """Up to the code that calls lead to: slow paths of divisions and roots."""
    end = min((to for _, op, to in code if op.startswith("CALL") and to), default=code[-1][0] + 1)
    return [c for c in code if c[0] < end]


def inner_loop(code):
    """Instructions per access in the innermost loops that load, the dearest one; 0: there is none."""
    loops = [(to, at) for at, op, to in code if op.startswith("BRA") and to is not None and to < at]
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    dearest = 0
    for begin, end in inner:
        body = [c for c in code if begin <= c[0] <= end]
        accesses = count(body, WIDE) + count(body, HALF) / 2 if count(body, WIDE) else count(body, ANY)
        if accesses:
            dearest = max(dearest, len(body) / accesses)
    return dearest


def row_of(code, regs, local):
    path = main_path(code)
    wide = count(path, WIDE)
    r = collections.OrderedDict()
    r["regs"] = regs
    r["threads"] = min(2048, 65536 // ((regs + 7) // 8 * 8) // 256 * 256)
    r["local"] = max(local, 4 * count(code, r"(LDL|STL)\b"))
    r["instr"], r["path"] = len(code), len(path)
    r["ld"], r["st"] = count(path, r"LDG\..*\b(128|256)\b"), count(path, r"STG\..*\b(128|256)\b")
    r["narrow"] = count(path, ANY) - wide
    r["loop"] = round(inner_loop(path))
    r["each"] = round(len(path) / wide) if wide else 0
    r["div64"] = count(code, r"I2F\.U?64|I2F\.S64")
    r["div32"] = count(code, r"I2F\.U32\.RP|I2F\.RP")
    r["f64"] = count(code, r"D(ADD|MUL|FMA|SETP|MNMX)\b")
    r["cvt64"] = count(code, r"(F2F\.F(32\.F64|64\.F32)|[FI]2[FI]\.\S*64)")
    return r


def table(args):
    tool = find_cuobjdump()
    if not tool:
        print("sass.py: no cuobjdump (CUDA toolkit, or pip install nvidia-cuda-cuobjdump)", file=sys.stderr)
        sys.exit(77)
    known = resources(dump(tool, args.program, args.arch, "-res-usage"))
    codes = functions(dump(tool, args.program, args.arch, "-sass"))
    rows = {k: row_of(c, *known[k]) for k, c in sorted(codes.items()) if re.search(args.kernel, k[0])}
    if not rows:
        print(f"sass.py: {args.program} has no such kernel for {args.arch}", file=sys.stderr)
        sys.exit(77)
    return rows


# One thread per channel, sample or tensor; convolutions for what libraries refuse.
SMALL = r"(norm_settle|norm_gradients|softmax_|loss_|conv_|sums|share|total|trust|clip|image_table|permute)"
# Much code of which little runs: eight bits or sixteen, one way of interpolating or none.
BRANCHES = r"image_pixels"


def faults(rows):
    for name, r in rows.items():
        label = f"{name[0]} {name[2]} by {name[1]}"
        if re.match(SMALL, name[0]):
            continue
        if r["local"]:
            yield f"{label}: {r['local']} bytes of local memory"
        if r["regs"] > 128:
            yield f"{label}: {r['regs']} registers, at most 128"
        if name[1] == 1:
            continue
        if r["div64"]:
            yield f"{label}: {r['div64']} 64-bit divisions"
        cost = r["loop"] or r["each"]
        if cost > 4 * CLOCKS and not re.match(BRANCHES, name[0]) and r["ld"]:
            yield f"{label}: {cost} instructions per 16 bytes"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("--arch", default="sm_90")
    p.add_argument("--kernel", default="", metavar="REGEX")
    p.add_argument("--wide", action="store_true")
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    rows = table(args)

    print(f"{args.arch}; derived: an H100 at 3.35 TB/s issues {4 * CLOCKS:.0f} instructions of a warp per 16-byte access")
    columns = list(next(iter(rows.values())))
    print(f"{'kernel':24s}" + "".join(f"{c:>8s}" for c in columns))
    for (kernel, lanes, of), r in rows.items():
        if args.wide and lanes == 1:
            continue
        print(f"{f'{kernel} {of} {lanes}':24s}" + "".join(f"{r[c]:8d}" for c in columns))
    found = list(faults(rows)) if args.check else []
    for f in found:
        print("fault:", f)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
