#!/usr/bin/env python3
"""The PyTorch side of bench_train: the same network, batch and optimizer, driven over stdin.

Answers one line to each command:
  (start)         ready VERSION PARAMETERS MODE...
  run MODE STEPS  seconds, seconds of this process's computing
  peak            bytes: of the largest resident set so far; on a GPU, of what PyTorch allocated there
  quit            (ends)
With --memory, for the one mode of --modes, one line only: bytes resident before the model, and at
most during three steps.

Modes on the CPU: nchw, channels-last; with --precision bf16 these are autocast over f32 parameters, and
nchw-whole, channels-last-whole have parameters of bf16; with --compiled also nchw-compiled and
channels-last-compiled (torch.compile).  On a GPU, all channels-last: eager, compiled (torch.compile),
graphed (forward, backward and update as one CUDA graph), compiled-graphed.  A mode that this PyTorch
cannot do is left out, with the reason on stderr.
"""
import argparse
import contextlib
import os
import re
import resource
import subprocess
import sys
import time

# A machine made narrower for oneDNN is so for all of PyTorch: its own kernels, and what torch.compile makes.
NARROW = os.environ.get("ONEDNN_MAX_CPU_ISA", "").startswith("AVX2")
if NARROW:
    os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")

import torch  # noqa: E402, reads the environment
from torch import nn  # noqa: E402

import make_oracle  # noqa: E402

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


def make_optimizer(model, job, capturable):
    """Fused where this PyTorch has it: its fastest.  capturable: can be part of a CUDA graph."""
    make, options = torch.optim.Adam, {"lr": 1e-5}
    if capturable:
        options["capturable"] = True
    if job.get("sgd"):
        make, options = torch.optim.SGD, {"lr": 1e-5, "momentum": 0.9}
    try:
        return make(model.parameters(), fused=True, **options)
    except (RuntimeError, TypeError):
        return make(model.parameters(), **options)


class Job:
    """One way of training: model, optimizer and a batch in memory.  Weights stay f32 but in the "whole" modes."""

    def __init__(self, args, mode):
        job = JOBS[args.model]
        memory_format = torch.contiguous_format if mode.startswith("nchw") else torch.channels_last
        torch.manual_seed(1)
        make_oracle.KerasNorm = FastNorm
        self.device, self.precision = args.device, args.precision
        self.model = make_oracle.BUILDERS[args.model](job).to(args.device, memory_format=memory_format)
        whole = mode.endswith("-whole")
        if whole:
            self.model, self.precision = self.model.to(torch.bfloat16), "f32"  # nothing to cast
        self.optimizer = make_optimizer(self.model, job, "graphed" in mode)
        self.x = torch.rand(args.batch, job["channels"], *job["size"], device=args.device)
        self.x = self.x.to(torch.bfloat16 if whole else torch.float32, memory_format=memory_format)
        self.y = torch.arange(args.batch, device=args.device) % 2
        self.loss = nn.CrossEntropyLoss()
        if not job["softmax"]:
            self.y, self.loss = self.y.to(self.x.dtype).unsqueeze(1), nn.BCEWithLogitsLoss()
        self.forward = torch.compile(self.model) if "compiled" in mode else self.model
        self.graph = None
        if "graphed" in mode:
            self.capture()
        elif "compiled" in mode or not mode.startswith(("nchw", "channels-last")):
            self.run(1)  # a mode that does not work is noticed here

    def arithmetic(self):
        if self.precision == "f32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with self.arithmetic():
            loss = self.loss(self.forward(self.x), self.y)
        loss.backward()
        self.optimizer.step()

    def capture(self):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # warm-up, as the capture of a graph wants it
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(self.graph):
            self.step()

    def settle(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def run(self, steps):
        self.settle()
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            if self.graph:
                self.graph.replay()
            else:
                self.step()
        self.settle()
        return time.perf_counter() - start, time.process_time() - cpu


def narrow_compiler():
    import torch._inductor.config

    torch._inductor.config.cpp.simdlen = 256


def make_jobs(args):
    jobs = {}
    for mode in args.modes.split(","):
        try:
            jobs[mode] = Job(args, mode)
        except Exception as error:  # whatever this PyTorch or its compiler says
            print(f"peer_train.py: no mode {mode}: {str(error).strip().splitlines()[:1]}", file=sys.stderr)
    return jobs


def peak(args):
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def status_bytes(field):
    with open("/proc/self/status", encoding="ascii") as f:
        return int(re.search(field + r":\s+(\d+) kB", f.read()).group(1)) * 1024


def tell_memory(args):
    before = status_bytes("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("5\n")  # the peak of the imports does not count
    Job(args, args.modes).run(3)
    print(before, status_bytes("VmHWM"), flush=True)


def without_broken_amx():
    """Some virtual machines announce AMX and hide how to use it: oneDNN then dies of SIGILL.  Start again without it."""
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        return
    try_it = "import torch; a = torch.ones(64, 64, dtype=torch.bfloat16); torch.mm(a, a)"
    if subprocess.run([sys.executable, "-c", try_it], stderr=subprocess.DEVNULL, check=False).returncode >= 0:
        return
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_BF16"
    print("peer_train.py: AMX does not work in PyTorch on this machine: it computes without", file=sys.stderr)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(JOBS), default="custom_cnn")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="torch.compile on the CPU too, which takes minutes")
    parser.add_argument("--modes", help="comma-separated; default: all of the device")
    args = parser.parse_args()
    gpu = args.device == "cuda"
    if args.precision == "bf16" and not gpu:
        without_broken_amx()
    if not args.modes:
        args.modes = "eager,compiled,graphed,compiled-graphed" if gpu else "nchw,channels-last"
        if args.precision == "bf16" and not gpu:
            args.modes += ",nchw-whole,channels-last-whole"
        if args.compiled and not gpu:
            args.modes += ",nchw-compiled,channels-last-compiled"
    if gpu and not torch.cuda.is_available():
        sys.exit("peer_train.py: this PyTorch sees no GPU")
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    if NARROW and "compiled" in args.modes:
        narrow_compiler()
    if args.memory:
        tell_memory(args)
        return
    jobs = make_jobs(args)
    if not jobs:
        sys.exit("peer_train.py: no mode works")
    parameters = sum(p.numel() for p in next(iter(jobs.values())).model.parameters())  # trainable
    print("ready", torch.__version__, parameters, *jobs, flush=True)
    for line in sys.stdin:
        word = line.split()
        if word[0] == "quit":
            return
        if word[0] == "peak":
            print(peak(args), flush=True)
        else:
            print(*jobs[word[1]].run(int(word[2])), flush=True)


if __name__ == "__main__":
    main()
