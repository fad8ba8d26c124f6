#!/bin/bash
# Ranks that hang, die or fail must end the whole job: in time, with one exit code, and with a line
# that says who waited for what.  The program is tests/mpi/test_agree.c with a mode.
set -u
program=$BUILD_DIR/tests/test_agree
host=$(hostname)
. "$SOURCE_DIR/tests/lib.sh"

attempt() { # RANKS: output in out.$mode, exit code in $code, whole seconds in $took
  local start=$SECONDS
  launch 60 "$1" "$program" $mode > out.$mode 2>&1
  code=$?
  took=$((SECONDS - start))
  echo "$mode with $1 ranks: exit code $code after $took s"
}

run() { # MODE RANKS
  mode=$1
  sure attempt "$2"
}

says() { grep -qE -- "$1" "out.$mode"; }

# rank 1 sleeps 60 s instead of joining collective 2; the limit is 2 s
run skip 3
expect "exit code 4" test $code -eq 4
expect "ends within 10 s" test $took -lt 10
expect "rank 0 says where" says \
  "rank 0 \(host $host\): stuck [2-3] s in collective #2 \(allreduce \"epoch loss\", 4 bytes, 3 ranks\)"
expect "one rank speaks for all that wait" test "$(grep -c '^pneuma: rank .*: stuck' out.skip)" -eq 1
expect "the late rank does not" eval '! says "^pneuma: rank 1 \(host"'
expect "the late rank is named before the limit" says \
  "warning: rank 0 \(host $host\) has waited 1.[0-9] s in collective #2 .*; late: rank 1 \(host $host: .*last seen in collective #1 .* [12] s ago"
expect "and at the limit" says "rank 0 \(host $host\): stuck .*; late: rank 1 \(host $host"
expect "the way out" says "run.watchdog_s"

# rank 1 hangs outside comm, in a bracket; main threads cannot help
run hang 2
expect "exit code 4" test $code -eq 4
expect "ends within 12 s" test $took -lt 12
expect "names the bracket" says "rank 1 \(host $host\): stuck [2-3] s in \"read of shard 7\" \(4096 bytes\)"

# rank 1 leaves with an error it could not agree on
run die 3
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "the cause" says "rank 1 gives up"

run kill 3
expect "fails" test $code -ne 0
expect "is known, and no timeout of ours" test $code -ne 124 -a $code -ne 125
expect "ends within 10 s" test $took -lt 10

# rank 1 fails while the others have sums in flight: agreed upon, then all leave
run lost 4
expect "exit code 1" test $code -eq 1
expect "ends within 10 s" test $took -lt 10
expect "one line with the cause" test "$(grep -c 'cannot open shard 1' out.lost)" -eq 1
expect "names the rank" says "rank 1 \($host\): .*cannot open shard 1"

finish watchdog
