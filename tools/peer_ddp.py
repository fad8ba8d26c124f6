#!/usr/bin/env python3
"""The PyTorch side of bench_scaling: the networks of peer_train.py on one process, or on several with
DistributedDataParallel over gloo, one core and one thread each.  Driven over stdin of the first one.

Answers one line to each command:
  (start)                ready VERSION
  run MODEL BATCH STEPS  seconds of the slowest rank; BATCH: images of each rank
  drop                   ok: forgets the networks
  quit                   (ends)
"""
import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
import types
import warnings

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import peer_train

WARM_UP = 2


class Rank:
    def __init__(self, args, others):
        self.args, self.others, self.jobs = args, others, {}
        if args.ranks > 1:
            dist.init_process_group("gloo", init_method="file://" + args.store, rank=args.rank,
                                    world_size=args.ranks, timeout=datetime.timedelta(seconds=600))

    def line(self):
        """The next one, passed on to the other ranks: who waits sleeps, and for as long as it takes."""
        line = sys.stdin.readline() or "quit\n"
        for other in self.others:
            other.stdin.write(line)
            other.stdin.flush()
        return line.split()

    def job(self, model, batch):
        if (model, batch) not in self.jobs:
            args = types.SimpleNamespace(model=model, batch=batch, device="cpu", precision="f32")
            job = peer_train.Job(args, "channels-last")
            if self.args.ranks > 1:
                job.forward = DistributedDataParallel(job.model, gradient_as_bucket_view=True,
                                                      broadcast_buffers=False)
            self.jobs[model, batch] = job
            job.run(WARM_UP)
        return self.jobs[model, batch]

    def run(self, model, batch, steps):
        job = self.job(model, batch)
        if self.args.ranks == 1:
            return job.run(steps)[0]
        dist.barrier()
        seconds = torch.tensor([job.run(steps)[0]], dtype=torch.float64)
        dist.all_reduce(seconds, op=dist.ReduceOp.MAX)
        return seconds.item()

    def serve(self):
        first = self.args.rank == 0
        say = (lambda text: print(text, flush=True)) if first else (lambda text: None)
        say(f"ready {torch.__version__}")
        while True:
            word = self.line()
            if word[0] == "quit":
                return
            if word[0] == "drop":
                self.jobs.clear()
                say("ok")
            else:
                say(self.run(word[1], int(word[2]), int(word[3])))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--cores", help="comma-separated: one for each rank")
    parser.add_argument("--store", help="of the ranks beside the first one")
    args = parser.parse_args()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    others, folder = [], None
    if args.ranks > 1 and not args.store:
        folder = tempfile.TemporaryDirectory()
        args.store = os.path.join(folder.name, "store")
        own = [sys.executable, __file__, "--ranks", str(args.ranks), "--store", args.store]
        own += ["--cores", args.cores] if args.cores else []
        others = [subprocess.Popen(own + ["--rank", str(r)], stdin=subprocess.PIPE, text=True)
                  for r in range(1, args.ranks)]
    if args.cores:
        os.sched_setaffinity(0, {int(args.cores.split(",")[args.rank])})
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    Rank(args, others).serve()
    for other in others:
        other.wait()


if __name__ == "__main__":
    main()
