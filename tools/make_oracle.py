#!/usr/bin/env python3
"""Writes tests/oracle/cnn_*.json and .bin: what PyTorch computes for the custom CNN, in double.

Parameters and images come from the same counter generator as in src/base/rng.c (written again
here in numpy), so no weights need to be stored.  Needs torch and numpy:
    python3 tools/make_oracle.py [OUT_DIR]
"""
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

RNG_INIT, RNG_TEST = 1, 8  # src/base/rng.h
SAMPLES = 48

CASES = [
    {"name": "cnn_bce", "size": [32, 32], "channels": 1, "classes": 2, "filters": [4, 8],
     "kernel": 3, "hidden": 16, "padding": True, "softmax": False, "batch": 6, "seed": 17,
     "optim": "adam", "lr": 1e-3, "momentum": 0.0, "weight_decay": 0.01, "whole": True},
    {"name": "cnn_softmax", "size": [30, 26], "channels": 3, "classes": 4, "filters": [3, 6],
     "kernel": 5, "hidden": 12, "padding": False, "softmax": True, "batch": 5, "seed": 18,
     "optim": "sgd", "lr": 5e-2, "momentum": 0.9, "weight_decay": 0.001, "whole": True},
    {"name": "cnn_full", "size": [128, 128], "channels": 1, "classes": 2, "filters": [32, 64],
     "kernel": 3, "hidden": 128, "padding": True, "softmax": False, "batch": 2, "seed": 19,
     "optim": "adam", "lr": 1e-4, "momentum": 0.0, "weight_decay": 0.0, "whole": False},
]
STEPS = 10
# lr of cnn_full: at 1e-3 the loss of two images jumps about and amplifies rounding a thousandfold.


def philox(counter, key):
    """Philox4x32-10 of [n, 4] counters."""
    c = [counter[:, i].astype(np.uint64) for i in range(4)]
    k, mask = list(key), np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p1 & mask,
             (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, axis=1)


def uniform(seed, use, a, n):
    """First n numbers of pn_rng_uniform on the stream (seed, use, a, 0), as double."""
    counter = np.zeros(((n + 3) // 4, 4), np.uint64)
    counter[:, 0] = np.arange(len(counter))
    counter[:, 1] = use << 28
    counter[:, 2] = a
    words = philox(counter, [seed & 0xFFFFFFFF, seed >> 32]).reshape(-1)[:n]
    return (words >> np.uint64(8)).astype(np.float64) * 2.0**-24


def build(case):
    f, k = case["filters"], case["kernel"]
    pad = (k - 1) // 2 if case["padding"] else 0
    h, w = case["size"]
    for _ in range(2):
        h, w = (h + 2 * pad - k + 1) // 2, (w + 2 * pad - k + 1) // 2
    outputs = case["classes"] if case["softmax"] else 1
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(case["channels"], f[0], k, padding=pad))
    net.add_module("relu1", nn.ReLU())
    net.add_module("pool1", nn.MaxPool2d(2))
    net.add_module("conv2", nn.Conv2d(f[0], f[1], k, padding=pad))
    net.add_module("relu2", nn.ReLU())
    net.add_module("pool2", nn.MaxPool2d(2))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Linear(f[1] * h * w, case["hidden"]))
    net.add_module("relu3", nn.ReLU())
    net.add_module("fc2", nn.Linear(case["hidden"], outputs))
    return net.double()


def initialise(net, seed):
    fan_in = 1
    for i, p in enumerate(net.parameters()):
        if p.dim() > 1:
            fan_in = p[0].numel()
        bound = 1.0 / math.sqrt(fan_in)
        x = -bound + 2 * bound * uniform(seed, RNG_INIT, i, p.numel())
        p.data = torch.from_numpy(x.astype(np.float32).astype(np.float64)).reshape(p.shape)


def batch_of(case):
    h, w = case["size"]
    shape = (case["batch"], case["channels"], h, w)
    x = uniform(case["seed"], RNG_TEST, 0, int(np.prod(shape))).astype(np.float32)
    labels = [(3 * n + 1) % case["classes"] for n in range(case["batch"])]
    return torch.from_numpy(x.astype(np.float64)).reshape(shape), torch.tensor(labels)


def losses_of(case, logits, labels):
    if case["softmax"]:
        return nn.functional.cross_entropy(logits, labels, reduction="none")
    return nn.functional.binary_cross_entropy_with_logits(
        logits[:, 0], labels.double(), reduction="none")


def optimizer(case, net):
    weights = [p for p in net.parameters() if p.dim() > 1]
    biases = [p for p in net.parameters() if p.dim() == 1]
    groups = [{"params": weights, "weight_decay": case["weight_decay"]},
              {"params": biases, "weight_decay": 0.0}]
    if case["optim"] == "adam":
        return torch.optim.Adam(groups, lr=case["lr"])
    return torch.optim.SGD(groups, lr=case["lr"], momentum=case["momentum"], nesterov=True)


def summary(x):
    """Sum, sum and maximum of absolute values, and entries spread over the array."""
    x = x.reshape(-1)
    index = np.unique(np.linspace(0, len(x) - 1, SAMPLES).astype(np.int64))
    return {"sum": float(x.sum()), "abs": float(np.abs(x).sum()), "max": float(np.abs(x).max()),
            "index": index.tolist(), "value": [float(np.float32(v)) for v in x[index]]}


def run(case, out):
    net = build(case)
    initialise(net, case["seed"])
    x, labels = batch_of(case)
    start = [p.detach().numpy().copy() for p in net.parameters()]
    opt, step_loss, grads, first = optimizer(case, net), [], None, None
    for _ in range(STEPS):
        logits = net(x)
        losses = losses_of(case, logits, labels)
        opt.zero_grad()
        losses.mean().backward()
        if grads is None:
            grads = [p.grad.numpy().copy() for p in net.parameters()]
            first = (logits.detach().reshape(-1).tolist(), losses.tolist())
        opt.step()
        step_loss.append(losses.mean().item())
    delta = [p.detach().numpy() - s for p, s in zip(net.parameters(), start)]
    names = [n for n, _ in net.named_parameters()]
    result = dict(case, steps=STEPS, torch=torch.__version__, logits=first[0], losses=first[1],
                  step_loss=step_loss, params=[
                      {"name": n, "shape": list(s.shape), "grad": summary(g), "delta": summary(d)}
                      for n, s, g, d in zip(names, start, grads, delta)])
    (out / f"{case['name']}.json").write_text(json.dumps(result, indent=None) + "\n")
    if case["whole"]:
        flat = [a.astype("<f4").reshape(-1) for a in grads + delta]
        (out / f"{case['name']}.bin").write_bytes(np.concatenate(flat).tobytes())
    print(f"{case['name']}: {sum(s.size for s in start)} parameters, loss "
          f"{step_loss[0]:.6f} -> {step_loss[-1]:.6f}")


def main():
    root = Path(__file__).resolve().parent.parent
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests" / "oracle"
    out.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        run(case, out)


if __name__ == "__main__":
    main()
