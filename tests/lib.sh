# lib.sh -- sourced by the scripts of tests/cli and tests/fault: what they share.  A script ends with `finish NAME`.
failures=0
say() { echo "FAILED: $*"; failures=$((failures + 1)); }
has() { grep -qE -- "$2" "$1" || say "no '$2' in $1: $(head -c 1500 "$1")"; } # FILE PATTERN
must() { "$@" > out.txt 2> err.txt || { say "$*: exit code $?: $(tail -n 3 err.txt)"; exit 1; }; }
mpi() { "$MPIEXEC" -n "$1" --bind-to none "${@:2}"; } # RANKS COMMAND...
ranks() { must "$MPIEXEC" -n "$1" --oversubscribe --bind-to none "$PNEUMA" "${@:2}"; } # RANKS ARGUMENTS...
launch() { "$SOURCE_DIR/tests/launch.py" "$1" "$MPIEXEC" -n "$2" --bind-to none "${@:3}"; } # SECONDS RANKS COMMAND...
sure() { for _ in 1 2 3; do "$@"; [ $code = 125 ] || return 0; done; } # again where mpiexec failed and took the code with it
expect() { # WHAT CONDITION...: of the job whose output is in out.$mode
  "${@:2}" && return
  say "$mode: $1"
  sed 's/^/    /' "out.$mode"
}
sha() { grep -o '"weights_sha256": "[0-9a-f]*"' "$1/run.json" 2> /dev/null; } # RUN
need_dcmtk() {
  "$PNEUMA" info 2> /dev/null | grep -qE 'dcmtk +DCMTK' && return
  echo 'skipped: this build has no DCMTK'
  exit 77
}
finish() {
  [ $failures = 0 ] && echo "$1: all as expected"
  exit $((failures > 0))
}
