#!/usr/bin/env python3
"""The PyTorch side of bench_train: the same network, batch and optimizer, driven over stdin.

Answers one line to each command:
  (start)         ready VERSION PARAMETERS
  run MODE STEPS  seconds        MODE: nchw or channels_last
  peak            bytes of the largest resident set so far
  quit            (ends)
"""
import argparse
import resource
import sys
import time

import torch
from torch import nn

import make_oracle

# As bench_train.c's table.
JOBS = {
    "custom_cnn": {"size": [128, 128], "channels": 1, "classes": 2, "softmax": False,
                   "filters": [32, 64], "kernel": 3, "padding": True, "hidden": 128},
    "cifar_cnn": {"size": [32, 32], "channels": 3, "classes": 10, "softmax": True, "width": 32,
                  "hidden": 512, "dropout": 0.5},
    "resnet18": {"size": [224, 224], "channels": 3, "classes": 1000, "softmax": True, "width": 64,
                 "sgd": True},
    "resnet50v2": {"size": [224, 224], "channels": 3, "classes": 2, "softmax": False, "width": 64,
                   "hidden": 128, "dropout": 0.5, "sgd": True},
}


class FastNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's own batch norm in place of the twin's written-out one."""

    def _check_input_dim(self, x):
        pass


def make_optimizer(model, job):
    """Fused where this PyTorch has it on the CPU: its fastest."""
    make, options = torch.optim.Adam, {"lr": 1e-3}
    if job.get("sgd"):
        make, options = torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}
    try:
        return make(model.parameters(), fused=True, **options)
    except (RuntimeError, TypeError):
        return make(model.parameters(), **options)


class Job:
    """One memory format: model, optimizer and a batch in memory."""

    def __init__(self, args, memory_format):
        job = JOBS[args.model]
        torch.manual_seed(1)
        make_oracle.KerasNorm = FastNorm
        self.model = make_oracle.BUILDERS[args.model](job).to(memory_format=memory_format)
        self.optimizer = make_optimizer(self.model, job)
        self.x = torch.rand(args.batch, job["channels"], *job["size"])
        self.x = self.x.to(memory_format=memory_format)
        self.y = torch.arange(args.batch) % 2
        self.loss = nn.CrossEntropyLoss()
        if not job["softmax"]:
            self.y, self.loss = self.y.float().unsqueeze(1), nn.BCEWithLogitsLoss()

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(JOBS), default="custom_cnn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    jobs = {"nchw": Job(args, torch.contiguous_format),
            "channels_last": Job(args, torch.channels_last)}
    parameters = sum(p.numel() for p in jobs["nchw"].model.parameters())  # trainable
    print("ready", torch.__version__, parameters, flush=True)
    for line in sys.stdin:
        word = line.split()
        if word[0] == "quit":
            return
        if word[0] == "peak":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        else:
            print(jobs[word[1]].run(int(word[2])), flush=True)


if __name__ == "__main__":
    main()
