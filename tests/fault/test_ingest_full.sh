#!/bin/bash
# test_ingest_full.sh -- the disk is full: all ranks leave at once with one line and leave no debris;
# with more room the same command ends with the bytes of an undisturbed run.  A small tmpfs needs
# root; without it only the part with a limit on the size of files is run.
set -u
: "${PNEUMA:?}" "${MPIEXEC:?}" "${WORK_DIR:?}"
cd "$WORK_DIR" || exit 1
. "$SOURCE_DIR/tests/lib.sh"
need_dcmtk
rm -rf phantom whole limited ./*.txt
"$PNEUMA" synth phantom synth.images=120 synth.seed=8 >synth.txt 2>&1 || { cat synth.txt; exit 1; }
"$PNEUMA" ingest phantom whole --size 96 >whole.txt 2>&1 || { cat whole.txt; exit 1; }

fails() { # fails WHAT FOLDER REASON COMMAND...: exit code 1 in time, one line that says why, no debris
  local what=$1 folder=$2 reason=$3 start=$SECONDS
  shift 3
  "$@" >full.txt 2>&1
  local code=$?
  echo "$what: exit code $code after $((SECONDS - start)) s"
  [ $code = 1 ] || say "$what: exit code $code: $(cat full.txt)"
  [ $((SECONDS - start)) -lt 10 ] || say "$what: took $((SECONDS - start)) s"
  [ "$(grep -c '^pneuma:' full.txt)" = 1 ] || say "$what: not one line: $(cat full.txt)"
  grep -qE "^pneuma:.*$reason" full.txt || say "$what: no '$reason': $(cat full.txt)"
  [ -e "$folder/index.json" ] && say "$what: published"
  find "$folder" -name '*.tmp.*' >debris.txt
  [ -s debris.txt ] && say "$what: debris: $(cat debris.txt)"
  [ -e "$folder/.ingest.lock" ] && say "$what: the lock is still there"
}

again() { # again WHAT FOLDER RANKS
  "$MPIEXEC" -n "$3" --bind-to none "$PNEUMA" ingest phantom "$2" --size 96 --json >again.json 2>again.txt ||
    say "$1: the same command: $(cat again.txt)"
  diff -r whole "$2" >diff.txt || say "$1: $(head -3 diff.txt)"
}

# Rank 1 may not write files of more than 40 KiB: its disk is "full", the others' is not.
# Open MPI 5 cannot start so: its shared memory is a file too.
# shellcheck disable=SC2016
limited() {
  "$MPIEXEC" -n 3 --bind-to none bash -c '
    trap "" XFSZ
    [ "$OMPI_COMM_WORLD_RANK" = 1 ] && ulimit -f 40
    exec "$@"' rank "$PNEUMA" "$@"
}
if limited info >info.txt 2>&1; then
  fails 'one rank' limited 'File too large' limited ingest phantom limited --size 96 --quiet
  grep -q 'rank 1 ' full.txt || say "one rank: not named: $(cat full.txt)"
  again 'one rank' limited 2
else
  echo 'one rank: not run, this MPI does not start with a limit on the size of files'
fi

# Rank 2 has no memory for its shard (8 images of 64 MB), the others have.
rm -rf memory
# shellcheck disable=SC2016
fails 'no memory' memory 'out of memory' "$MPIEXEC" -n 3 --bind-to none bash -c '
  [ "$OMPI_COMM_WORLD_RANK" = 2 ] && ulimit -v 700000
  exec "$@"' rank "$PNEUMA" ingest phantom memory --size 8192 ingest.shard_mb=4096 --quiet

if [ "$(id -u)" != 0 ] || ! mkdir -p small || ! mount -t tmpfs -o size=1m none small 2>mount.txt; then
  echo 'not run: a tmpfs of 1 MB needs root and the right to mount'
  exit $((failures ? 1 : 77))
fi
trap 'umount "$WORK_DIR/small"' EXIT
fails 'full tmpfs' small/out 'No space left on device: make room' \
  "$MPIEXEC" -n 3 --bind-to none "$PNEUMA" ingest phantom small/out --size 96 --quiet
kept=$(ls small/out/.ingest/0* | wc -l)
[ "$kept" -gt 0 ] || say 'full tmpfs: nothing was kept'
mount -o remount,size=16m small || say 'remount'
again 'full tmpfs' small/out 2
grep -q "\"resumed_pieces\": $kept" again.json || say "full tmpfs: $kept pieces kept: $(cat again.json)"

# Not even room for the index: what was there before stays readable, and that is all there is.
umount small
mount -t tmpfs -o size=8k none small || say 'mount'
fails 'no room at all' small/out 'No space left' "$PNEUMA" ingest phantom small/out --size 96 --quiet
finish ingest_full
