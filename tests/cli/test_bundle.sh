#!/usr/bin/env bash
# tools/bundle.sh: the archive runs where none of the program's libraries is installed: in a root that holds a shell, a few
# tools and their C library.  With this machine's C library there, and without (PNEUMA_LIBC=bundled).
set -euo pipefail

skip() { echo "skipped: $*"; exit 77; }
case $(mpirun --version 2> /dev/null | head -n 1) in
  *" 4."*) ;;
  *) skip "tools/bundle.sh packs Open MPI 4 (Debian 12), here is: $(mpirun --version 2> /dev/null | head -n 1)" ;;
esac
"$BUILD_DIR/pneuma" info 2> /dev/null | grep -q 'mpi ' || { echo "no pneuma in $BUILD_DIR"; exit 1; }
if ldd "$BUILD_DIR/pneuma" | grep -q libasan; then skip "a build with sanitizers is not packed"; fi
as_root=(unshare --mount --pid --fork --kill-child)
[ "$(id -u)" = 0 ] || as_root=(unshare --map-root-user --mount --pid --fork --kill-child)
"${as_root[@]}" true 2> /dev/null || skip "this user may not make a mount namespace (unshare)"

rm -rf "$WORK_DIR/root" "$WORK_DIR/bundle.tar.gz"
trap 'rm -rf "$WORK_DIR/root" "$WORK_DIR/bundle.tar.gz"' EXIT
"$SOURCE_DIR/tools/bundle.sh" -b "$BUILD_DIR" -l "ops oracle mpi gpu" -o "$WORK_DIR/bundle.tar.gz"
[ "$(stat -c %s "$WORK_DIR/bundle.tar.gz")" -le $((40 << 20)) ] || { echo "larger than 40 MiB"; exit 1; }

# A root with tools and their libraries, and all of the C library; nothing more.
root=$WORK_DIR/root
mkdir -p "$root"/{bin,lib64,proc,dev,sys,tmp,etc,home}
for tool in sh tar gzip cat sed dirname readlink mkdir mv rm mktemp timeout tail ls grep; do
  cp -L "$(command -v $tool)" "$root/bin"
  ldd "$root/bin/$tool" | awk '$2 == "=>" {print $3} /^[^=]*ld-linux/ {print $1}'
done | sort -u | while read -r lib; do
  mkdir -p "$root$(dirname "$lib")"
  cp -L "$lib" "$root$lib"
done
libc=$(ldd "$root/bin/sh" | awk '/libc\.so\.6/ {print $3}')
for lib in m mvec dl pthread rt util resolv; do cp -L "$(dirname "$libc")/lib$lib".so.[0-9] "$root$(dirname "$libc")"; done
printf 'root:x:0:0::/home:/bin/sh\n' > "$root/etc/passwd"
tar -xzf "$WORK_DIR/bundle.tar.gz" -C "$root/home"
cat > "$root/home/try.sh" << 'END'
set -e
cd /home
export PATH=/bin HOME=/home OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMP_WAIT_POLICY=passive
p=/home/pneuma/bin
rm -rf s d r
$p/pneuma info | sed -n '1p;/^Libraries/,/^$/p'
quietly() { "$@" > out.txt 2>&1 || { cat out.txt; echo "failed: $*"; exit 1; }; }
quietly $p/pneuma synth s synth.images=60
quietly $p/mpirun -n 2 --bind-to none $p/pneuma ingest s d --size 32
$p/mpirun -n 2 --bind-to none $p/pneuma train data.path=d model.name=custom_cnn train.epochs=1 train.batch=8 \
  out.path=r --json 2> train.err > train.json || { cat train.err; exit 1; }
grep -E '"(ranks|weights_sha256)"' train.json
$p/run_tests oracle
if $p/run_tests gpu > gpu.txt; then # none passed: that is no success
  echo "label gpu without a GPU: $(cat gpu.txt)"
  exit 1
fi
END
in_root() { # shell script's VARIABLE=VALUE...
  "${as_root[@]}" /bin/sh -c '
    r=$1; shift
    mount --rbind /proc "$r/proc"; mount --rbind /sys "$r/sys"
    mount -t tmpfs tmpfs "$r/dev"; mkdir "$r/dev/shm" # of its own: Open MPI names files there by process id
    for d in null zero random urandom; do : > "$r/dev/$d"; mount --bind "/dev/$d" "$r/dev/$d"; done
    exec chroot "$r" /bin/sh -c "$* exec /bin/sh /home/try.sh"' in_root "$root" "$@"
}

# The test can fail: without the bundle's libraries the program does not start.
if in_root 'export PNEUMA_LIBC=host; sh /home/pneuma/unpack; mv /home/pneuma/lib /home/pneuma/gone; mkdir /home/pneuma/lib;' \
  > "$WORK_DIR/without.txt" 2>&1; then
  echo "it runs without its libraries: the root is not clean"
  exit 1
fi
rmdir "$root/home/pneuma/lib"
mv "$root/home/pneuma/gone" "$root/home/pneuma/lib"
for libc in auto bundled; do
  in_root "export PNEUMA_LIBC=$libc;" > "$WORK_DIR/$libc.txt" 2>&1 || { cat "$WORK_DIR/$libc.txt"; echo "failed with PNEUMA_LIBC=$libc"; exit 1; }
  for row in test_ops test_oracle test_images test_train_gpu.sh test_sanitizer.sh; do
    grep -q "^gpu.$row: SKIPPED" "$root/home/gpu.txt" || { cat "$root/home/gpu.txt"; echo "no row gpu.$row that was skipped"; exit 1; }
  done
  grep -q '"ranks": 2' "$WORK_DIR/$libc.txt" || { cat "$WORK_DIR/$libc.txt"; echo "no training on 2 ranks"; exit 1; }
done
# The same program on the same data: here and there, with either C library.
[ "$(grep weights_sha256 "$WORK_DIR/auto.txt")" = "$(grep weights_sha256 "$WORK_DIR/bundled.txt")" ]
tail -n 1 "$WORK_DIR/bundled.txt"
echo "bundle: synth, ingest, training on 2 ranks and the oracles run in a root without any of the libraries"
