#!/usr/bin/env bash
# bundle.sh -- one archive with pneuma, mpirun, the benchmarks, test programs and every shared library they need, for
# x86-64 Linux machines that have none of them (docs/gpu.md).  Not in it: the GPU's driver, cuDNN, cuBLAS, NCCL.
#   tools/bundle.sh [-b BUILD] [-l 'LABEL ...'] [-o FILE]
#     -b  build folder (default: build, or PN_BUILD)          -l  test programs of these labels (default: ops oracle mpi gpu)
#     -o  archive (default: BUILD/pneuma-VERSION-x86_64.tar.gz); more than 40 MiB is an error
set -euo pipefail
. "$(dirname "$0")/env.sh"
limit=$((40 << 20))
labels="ops oracle mpi gpu" out=""
while getopts b:l:o: option; do
  case $option in
    b) build=$OPTARG ;;
    l) labels=$OPTARG ;;
    o) out=$OPTARG ;;
    *) exit 2 ;;
  esac
done
die() { echo "bundle.sh: $*" >&2; exit 1; }
[ -x "$build/pneuma" ] || die "no $build/pneuma: build first, or give -b BUILD"
for tool in xz objdump ldd strip strings python3 ctest; do
  command -v $tool > /dev/null || die "$tool is not installed"
done
version=$(sed -n 's/.*PN_VERSION "\(.*\)"/\1/p' "$build/generated/pn_version.h")
[ -n "$version" ] || die "no version in $build/generated/pn_version.h"
out=$(realpath -m "${out:-$build/pneuma-$version-x86_64.tar.gz}")
mpi_path() { ompi_info --path "$1" --parsable | cut -d: -f3; }
command -v ompi_info > /dev/null || die "ompi_info is not installed (Debian: openmpi-bin): this script packs Open MPI"
case $(ompi_info --version | head -n 1) in
  *" v4."*) ;;
  *) die "it packs Open MPI 4 (Debian 12, whose older C library also suits more machines), found $(ompi_info --version | head -1)" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
top=$work/pneuma data=$work/data # top: as it is in the archive; data: what data.tar.xz holds
mkdir -p "$top/bin" "$top/xz" "$data/exe" "$data/lib/glibc" "$data/lib/openmpi" "$data/lib/pmix" "$data/lib/hwloc" \
  "$data/share" "$data/etc" "$data/tools" "$data/tests"

# ---- programs
cp "$build/pneuma" "$build"/bench_train "$data/exe"
cp -L "$(command -v mpirun)" "$data/exe/mpirun"
cp -L "$(command -v orted)" "$data/exe/orted"

# Lines "label program ranks arguments" from ctest's own list: programs of the wanted labels, and the scripts in tests/gpu.
ctest --test-dir "$build" --show-only=json-v1 | python3 -c '
import json, os, sys
labels, folder = sys.argv[1].split(), os.path.realpath(sys.argv[2])
for test in sorted(json.load(sys.stdin)["tests"], key=lambda t: "sanitizer" in t["name"]):  # the slowest comes last
    of = [p["value"] for p in test["properties"] if p["name"] == "LABELS"]
    label, command = (of or [["none"]])[0][0], test.get("command", [""])
    at = [i for i, word in enumerate(command) if os.path.dirname(os.path.realpath(word)) == folder]
    script = [word for word in command if word.endswith(".sh") and word.split("/")[-2:-1] == ["gpu"]]
    if label in labels and script:
        print(label, os.path.basename(script[0]), "-")
    elif label in labels and at and os.access(command[at[0]], os.X_OK):
        ranks = command[command.index("-n") + 1] if "-n" in command[:at[0]] else "-"
        print(label, os.path.basename(command[at[0]]), ranks, *command[at[0] + 1:])
' "$labels" "$build/tests" > "$data/tests.list"
[ -s "$data/tests.list" ] || die "no test program with a label of: $labels"
cut -d' ' -f2 "$data/tests.list" | grep -v '\.sh$' | sort -u | while read -r program; do cp "$build/tests/$program" "$data/exe"; done
strip --strip-unneeded "$data"/exe/*

# ---- Open MPI's and PMIx's plugins; not those of fast networks and of OpenSHMEM: their libraries are large
plugins_from() { # FROM TO
  local plugin
  for plugin in "$1"/*.so; do
    objdump -p "$plugin" | grep -qE 'NEEDED +lib(ucp|ucs|fabric|psm|ibverbs|oshmem|nl-3|mca_common_(ofi|ucx|verbs))' ||
      cp "$plugin" "$2"
  done
}
plugins_from "$(mpi_path pkglibdir)" "$data/lib/openmpi"
pmix=$(ldd "$data"/lib/openmpi/mca_pmix_ext*.so 2> /dev/null | awk '/libpmix/ {print $3; exit}')
[ -z "$pmix" ] || plugins_from "$(dirname "$(realpath "$pmix")")/pmix" "$data/lib/pmix"
cp -r "$(mpi_path pkgdatadir)" "$data/share/openmpi"
cp -rL "$(mpi_path sysconfdir)" "$data/etc/openmpi"

# ---- shared libraries: everything that the loader finds, but the driver's and what the target brings
find "$data/exe" "$data/lib" -type f -print0 | xargs -0 -n 1 ldd 2> /dev/null > "$work/ldd"
missing=$(grep 'not found' "$work/ldd" | sort -u || true)
[ -z "$missing" ] || die "libraries that this machine cannot find: $missing"
awk '$2 == "=>" && $3 ~ /^\// {print $3}' "$work/ldd" | sort -u |
  grep -vE '/lib(cuda|cudnn[a-z_]*|cublas(Lt)?|nccl|nvrtc[a-z-]*|nvidia-[a-z]*)\.so' > "$work/libs"
glibc='/(ld-linux-x86-64|libc|libm|libmvec|libdl|libpthread|librt|libutil|libresolv|libanl|libnss_[a-z]*)\.so\.[0-9]+$'
grep -vE "$glibc" "$work/libs" | while read -r lib; do cp -L "$lib" "$data/lib"; done
libc=$(grep -E '/libc\.so\.6$' "$work/libs")
loader=$(realpath /lib64/ld-linux-x86-64.so.2)
for lib in libc.so.6 libm.so.6 libmvec.so.1 libdl.so.2 libpthread.so.0 librt.so.1 libutil.so.1 libresolv.so.2; do
  cp -L "$(dirname "$libc")/$lib" "$data/lib/glibc"
done
cp "$loader" "$data/lib/glibc/ld-linux-x86-64.so.2"
"$loader" --version | sed -n '1s/.*version \([0-9]*\.[0-9]*\).*/\1/p' > "$data/lib/glibc/VERSION"
[ -s "$data/lib/glibc/VERSION" ] || die "cannot tell this machine's glibc version"

# ---- data files
dictionary=$(strings "$data"/lib/libdcmdata.so* 2> /dev/null | sed -n 's|^\(/.*\)/dicom\.dic:.*|\1|p' | head -n 1)
[ -z "$dictionary" ] || cp -rL "$dictionary" "$data/share/dcmtk"
cp -r "$root/configs" "$data/"
cp -r "$root/tests/oracle" "$root/tests/gpu" "$data/tests/"
mkdir -p "$data/tests/cli"
cp "$root/tests/cli/test_emulated.sh" "$data/tests/cli" # what gpu/test_train_gpu.sh runs
cp "$root"/tools/{env.sh,gpu_check.sh,peer_train.py,make_oracle.py} "$data/tools" 2> /dev/null || true
find "$data/tests" -name '*.c' -delete -o -name '*.h' -delete

# ---- commands
cp "$root"/tools/bundle/env.sh "$top/bin/env.sh"
cp "$root"/tools/bundle/run_tests.sh "$top/bin/run_tests"
cp "$root"/tools/bundle/unpack.sh "$top/unpack"
printf '#!/bin/sh\necho "no ssh on this machine: mpirun can start ranks on this host only" >&2\nexit 1\n' > "$top/bin/no_ssh"
printf 'echo "no bash on this machine"\nexit 77\n' > "$top/bin/no_bash"
for program in "$data"/exe/*; do cp "$root/tools/bundle/command.sh" "$top/bin/${program##*/}"; done
chmod 755 "$top/unpack" "$top"/bin/*

# ---- the archive: many machines have no xz, so it is in it
ldd "$(command -v xz)" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | xargs -I LIB cp -L LIB "$top/xz"
cp "$loader" "$top/xz/ld-linux-x86-64.so.2"
cp -L "$(command -v xz)" "$top/xz/xz"
tar -C "$data" --owner=0 --group=0 --sort=name -cf - . | xz -T"$jobs" --lzma2=preset=1,dict=32MiB > "$top/data.tar.xz"
cat > "$top/README.txt" << END
pneuma $version for x86-64 Linux: bin/pneuma, bin/mpirun, bin/bench_train, bin/run_tests.
Unpacks itself on first use, here. NVIDIA's driver, cuDNN, cuBLAS and NCCL are taken from the machine; see bin/env.sh.
END
tar -C "$work" --owner=0 --group=0 --sort=name -cf - pneuma | gzip -6 > "$out"
bytes=$(stat -c %s "$out")
printf '%s: %d.%d MiB; %d libraries, glibc %s, %d tests\n' "$out" $((bytes >> 20)) $(((bytes & 1048575) * 10 >> 20)) \
  "$(ls "$data/lib" | wc -l)" "$(cat "$data/lib/glibc/VERSION")" "$(wc -l < "$data/tests.list")"
[ "$bytes" -le $limit ] || die "$bytes bytes, the limit is $limit"
