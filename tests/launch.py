#!/usr/bin/env python3
"""launch.py SECONDS MPIEXEC ARGUMENTS... -- runs mpiexec with a time limit (exit code 124), as timeout does.

When a job is torn down on a loaded machine, mpiexec of Open MPI 4.1 now and then crashes in PMIx_server_finalize,
or waits for ever although every rank has gone (docs/faults.md).  That is no fault of the program under test: here
the job then ends with the exit code of its ranks, and a line says what happened.  The code must be known: from what
mpiexec has said of a failing rank, from ranks it has not collected, or from all of them as orphans.  Where it is
not, the exit code is 125: neither a success nor the failure that a test expects."""
import ctypes
import os
import re
import signal
import subprocess
import sys
import time

GONE_S = 2.0  # ranks all gone, mpiexec still there: it hangs; mpiexec gone, ranks still there: they are ended
TIMEOUT, UNKNOWN = 124, 125
PR_SET_CHILD_SUBREAPER = 36


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []


def look(pid, status_of):
    """Notes how a process ended, None as long as that is not known; true: it is still there."""
    status_of.setdefault(pid, None)
    try:
        with open(f"/proc/{pid}/stat") as f:
            field = f.read().rpartition(")")[2].split()
    except OSError:
        return False
    if field[0] == "Z":
        status_of[pid] = int(field[-1])
    return field[0] not in "ZX"


def orphans(status_of):
    """Collects the ranks that a dead mpiexec has left to us."""
    end = time.monotonic() + GONE_S
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            status_of[pid] = status
        elif time.monotonic() > end:
            for left in children(os.getpid()):
                os.kill(left, signal.SIGKILL)
                os.waitpid(left, 0)
                status_of[left] = None  # of our making
        else:
            time.sleep(0.02)


def code_of(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def code_of_ranks(text, status_of, ranks):
    """What mpiexec said of the first failing rank, else the worst exit code of the ranks: 0 only if all are known."""
    said = re.search(r"(?:Exit code:|with errorcode) +(\d+)", text)
    if said:
        return int(said.group(1))
    said = re.search(r"exited on signal (\d+)", text)
    if said:
        return 128 + int(said.group(1))
    worst = max((code_of(s) for s in status_of.values() if s is not None), default=0)
    known = len(status_of) >= ranks and None not in status_of.values()
    return worst if worst or known else UNKNOWN


def judged(what, text, status_of):
    command = sys.argv[2:]
    ranks = int(command[command.index("-n") + 1]) if "-n" in command else 1
    code = code_of_ranks(text.decode(errors="replace"), status_of, ranks)
    why = "the ranks' exit codes are not known" if code == UNKNOWN else "of its ranks"
    print(f"launch.py: {what}: exit code {code}, {why}", file=sys.stderr)
    return code


def stop(job):
    job.send_signal(signal.SIGTERM)
    try:
        job.wait(5)
    except subprocess.TimeoutExpired:
        job.kill()
        job.wait()


class Errors:
    """Standard error of the job: passed on, and kept."""

    def __init__(self, fd):
        self.fd, self.text = fd, b""
        os.set_blocking(fd, False)

    def more(self):
        try:
            part = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            part = b""
        sys.stderr.buffer.write(part)
        sys.stderr.flush()
        self.text += part
        return bool(part)


def watch(job, errors, limit_s):
    """The exit code of the job."""
    end, status_of, gone_at = time.monotonic() + limit_s, {}, None
    while True:
        code = job.poll()
        if errors.more():
            continue
        if code is not None:
            break
        now = time.monotonic()
        there = [look(p, status_of) for p in children(job.pid)]
        if any(there) or not status_of:
            gone_at = None
        elif gone_at is None:
            gone_at = now
        elif now > gone_at + GONE_S:
            job.kill()
            job.wait()
            return judged("every rank has gone and mpiexec itself hangs, ended", errors.text, status_of)
        if now > end:
            stop(job)
            return TIMEOUT
        time.sleep(0.02)
    if code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
        orphans(status_of)
        while errors.more():
            pass
        return judged(f"mpiexec itself died of signal {-code}", errors.text, status_of)
    return code if code >= 0 else 128 - code


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    read, write = os.pipe()
    job = subprocess.Popen(sys.argv[2:], stderr=write)
    os.close(write)
    return watch(job, Errors(read), float(sys.argv[1]))


sys.exit(main())
