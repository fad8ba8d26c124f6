#!/bin/bash
# test_launch.sh -- tests/launch.py with made-up mpiexecs that end, crash, hang: the code is that of the ranks where there is
# evidence of it, and 125 where there is none.
set -u
. "$SOURCE_DIR/tests/lib.sh"
ulimit -c 0
rm -rf case.* && mkdir -p bin

# mpiexec STEP...: rank:CODE starts a rank that ends so after 1 s (sleeper: 12 s), forget: their codes
# are lost, wait for all, say:TEXT, crash, hang, end:CODE
cat > bin/mpiexec << 'EOS'
#!/usr/bin/env python3
import os, signal, sys, time

def rank(code):
    if os.fork() == 0:
        time.sleep(1)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)

def collect():
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass

for step in sys.argv[3:]:  # behind -n N
    verb, _, word = step.partition(":")
    if verb == "rank":
        rank(int(word))
    elif verb == "wait":
        collect()
    elif verb == "sleeper":
        if os.fork() == 0:
            time.sleep(12)
            os._exit(0)
    elif verb == "forget":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no rank becomes a zombie that can be read
    elif verb == "remember":
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    elif verb == "say":
        print(word, file=sys.stderr, flush=True)
    elif verb == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif verb == "hang":
        time.sleep(60)
    else:
        os._exit(int(word))
EOS
chmod +x bin/mpiexec

n=0 limit=60
expect() { # CODE WORDS RANKS STEP...
  n=$((n + 1))
  local out=case.$n
  (
    "$SOURCE_DIR/tests/launch.py" $limit "$PWD/bin/mpiexec" -n "${@:3}" > $out 2>&1
    rc=$?
    [ $rc = "$1" ] && { [ -z "$2" ] || grep -q -- "$2" $out; } || echo "FAILED: ${*:3}: exit code $rc, expected $1 with '$2': $(cat $out)" > $out.failed
  ) &
}
# mpiexec ends by itself: its code, whatever the ranks did
expect 0 '' 2 rank:0 rank:0 wait end:0
expect 1 '' 1 rank:1 wait end:1
expect 7 '' 1 rank:0 wait end:7
# it crashes: what it said, or its orphans' codes, or nothing is known
expect 3 'died of signal 11: exit code 3' 1 forget rank:3 wait 'say:  Exit code:    3' crash
expect 4 'exit code 4' 1 forget rank:4 wait 'say:with errorcode 4.' crash
expect 137 'exit code 137' 1 forget rank:-9 wait 'say:process rank 1 with PID 0 on node x exited on signal 9 (Killed).' crash
expect 5 'exit code 5' 2 rank:0 rank:5 crash
expect 0 'exit code 0, of its ranks' 2 rank:0 rank:0 crash
expect 139 'exit code 139' 2 rank:0 rank:-11 crash
expect 125 'are not known' 1 forget rank:1 wait crash
expect 125 'are not known' 1 crash
expect 125 'are not known' 2 forget rank:0 wait rank:0 crash
# it hangs: the same, from the ranks that it has not collected
expect 2 'itself hangs, ended: exit code 2' 2 rank:2 rank:0 hang
expect 0 'exit code 0, of its ranks' 2 rank:0 rank:0 hang
expect 9 'exit code 9' 1 forget rank:9 'say:  Exit code:    9' hang
expect 125 'are not known' 1 forget rank:1 hang
expect 125 'are not known' 2 forget rank:1 wait remember rank:0 hang
# the job itself takes too long
limit=4
expect 124 '' 1 sleeper hang
wait
cat case.*.failed 2> /dev/null && failures=1
[ $n = 18 ] || say "$n cases"
finish launch
