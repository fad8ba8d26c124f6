#!/usr/bin/env python3
"""launch.py SECONDS MPIEXEC ARGUMENTS... -- runs mpiexec with a time limit (exit code 124), as timeout does.

When a job is torn down on a loaded machine, mpiexec of Open MPI 4.1 now and then crashes in PMIx_server_finalize,
or waits for ever although every rank has gone (docs/faults.md).  That is no fault of the program under test: here
the job then ends with the exit code of its ranks, and a line says what happened."""
import os
import re
import signal
import subprocess
import sys
import time

GONE_S = 2.0  # ranks all gone, mpiexec still there: it hangs


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return f.read().split()
    except OSError:
        return []


def stat(pid):
    """State and exit code of a process, as wait() tells them."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            field = f.read().rpartition(")")[2].split()
    except OSError:
        return "gone", 0
    return field[0], int(field[-1])


def code_of(status):
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def code_of_ranks(text, dead):
    """What mpiexec said of the first failing rank, else the worst exit code of the ranks it has not collected."""
    said = re.search(r"(?:Exit code:|with errorcode) +(\d+)", text)
    return int(said.group(1)) if said else max((code_of(s) for s in dead), default=1) or 1


def main():
    limit, command = float(sys.argv[1]), sys.argv[2:]
    end = time.monotonic() + limit
    read, write = os.pipe()
    job = subprocess.Popen(command, stderr=write)
    os.close(write)
    os.set_blocking(read, False)
    text, seen, gone_at = b"", False, None

    while True:
        code = job.poll()
        try:
            part = os.read(read, 1 << 16)
        except BlockingIOError:
            part = b""
        sys.stderr.buffer.write(part)
        sys.stderr.flush()
        text += part
        if part:
            continue
        if code is not None:
            break
        now = time.monotonic()
        states = [stat(p) for p in children(job.pid)]
        seen = seen or bool(states)
        if not seen or any(s not in ("Z", "gone") for s, _ in states):
            gone_at = None
        elif gone_at is None:
            gone_at = now
        elif now > gone_at + GONE_S:
            job.kill()
            job.wait()
            code = code_of_ranks(text.decode(errors="replace"), [c for _, c in states])
            print(f"launch.py: every rank has gone and mpiexec itself hangs: ended, exit code {code}", file=sys.stderr)
            return code
        if now > end:
            job.send_signal(signal.SIGTERM)
            try:
                job.wait(5)
            except subprocess.TimeoutExpired:
                job.kill()
            return 124
        time.sleep(0.02)
    if code in (-signal.SIGSEGV, -signal.SIGABRT):
        was, code = code, code_of_ranks(text.decode(errors="replace"), [])
        print(f"launch.py: mpiexec itself died of signal {-was} after its ranks: exit code {code}", file=sys.stderr)
    return code if code >= 0 else 128 - code


sys.exit(main())
