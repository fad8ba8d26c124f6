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


def make_model(args):
    """small_cnns.md, custom CNN: 2 x (conv 3x3, ReLU, max-pool 2), 2 dense layers, one logit."""
    first, second, hidden = args.filters[0], args.filters[1], args.hidden
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (args.size // 4) ** 2, hidden), nn.ReLU(),
        nn.Linear(hidden, 1))


def make_optimizer(model):
    """Fused Adam where this PyTorch has it on the CPU: its fastest."""
    try:
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    except (RuntimeError, TypeError):
        return torch.optim.Adam(model.parameters(), lr=1e-3)


class Job:
    """One memory format: model, optimizer and a batch in memory."""

    def __init__(self, args, memory_format):
        torch.manual_seed(1)
        self.model = make_model(args).to(memory_format=memory_format)
        self.optimizer = make_optimizer(self.model)
        self.x = torch.rand(args.batch, 1, args.size, args.size).to(memory_format=memory_format)
        self.y = (torch.arange(args.batch) % 2).float().unsqueeze(1)
        self.loss = nn.BCEWithLogitsLoss()

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--filters", type=int, nargs=2, default=[32, 64])
    parser.add_argument("--hidden", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    jobs = {"nchw": Job(args, torch.contiguous_format),
            "channels_last": Job(args, torch.channels_last)}
    parameters = sum(p.numel() for p in jobs["nchw"].model.parameters())
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
