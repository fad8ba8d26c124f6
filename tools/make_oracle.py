#!/usr/bin/env python3
"""Writes tests/oracle/*.json and .bin: what PyTorch computes for the networks, in double.

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
# eps of cifar_cnn's Adam: a bias before a norm has no gradient but rounding, which eps 1e-8 makes
# full steps of.  resnet50v2: so deep and narrow it amplifies rounding: without weak branches PyTorch's
# own f32 is 7e-4 off its double after four steps of lr 1e-5.  Seed: of 24, the one whose ReLU inputs
# keep farthest from 0 (2e-5 sd), where f32 and double would part.
# Batch-norm networks, narrow and small; no dropout.  "spread": parameters from spread_values below.
NETS = [
    {"name": "cifar_cnn", "model": "cifar_cnn", "size": [16, 18], "channels": 3, "classes": 5,
     "width": 6, "hidden": 20, "softmax": True, "batch": 6, "seed": 31, "optim": "adam",
     "lr": 1e-3, "eps": 1e-2, "momentum": 0.0, "weight_decay": 0.01, "samples": 24},
    {"name": "resnet18", "model": "resnet18", "size": [48, 40], "channels": 1, "classes": 3,
     "width": 10, "hidden": 0, "softmax": True, "batch": 5, "seed": 32, "optim": "sgd",
     "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.001, "samples": 12},
    {"name": "resnet50v2", "model": "resnet50v2", "size": [48, 48], "channels": 3, "classes": 2,
     "width": 8, "hidden": 12, "softmax": False, "batch": 4, "seed": 40, "optim": "sgd",
     "lr": 1e-5, "momentum": 0.9, "weight_decay": 0.001, "samples": 6},
]
CASES += [dict(c, whole=False, spread=True) for c in NETS]
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


def build_custom_cnn(case):
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
    return net


class KerasNorm(nn.Module):
    """Keras 3: running variance from the biased batch variance."""

    def __init__(self, channels, eps, update):
        super().__init__()
        self.eps, self.update = eps, update
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        dims = [d for d in range(x.dim()) if d != 1]
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean(dims), x.var(dims, unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.update)
                self.running_var.lerp_(var, self.update)
        view = [1, -1] + [1] * (x.dim() - 2)
        x = (x - mean.view(view)) / torch.sqrt(var.view(view) + self.eps)
        return x * self.weight.view(view) + self.bias.view(view)


class CifarCnn(nn.Module):
    """small_cnns.md 1.1: same, valid, same, valid; ReLU before the norm."""

    def __init__(self, case):
        super().__init__()
        w, (height, width) = case["width"], case["size"]
        flat = 2 * w * (((height - 2) // 2 - 2) // 2) * (((width - 2) // 2 - 2) // 2)
        self.conv1, self.bn1 = nn.Conv2d(case["channels"], w, 3, padding=1), KerasNorm(w, 1e-3, 0.01)
        self.conv2 = nn.Conv2d(w, w, 3)
        self.conv3, self.bn2 = nn.Conv2d(w, 2 * w, 3, padding=1), KerasNorm(2 * w, 1e-3, 0.01)
        self.conv4 = nn.Conv2d(2 * w, 2 * w, 3)
        self.dense1 = nn.Linear(flat, case["hidden"])
        self.bn3 = KerasNorm(case["hidden"], 1e-3, 0.01)
        self.dense2 = nn.Linear(case["hidden"], case["classes"] if case["softmax"] else 1)
        self.drop = case.get("dropout", 0.0)

    def dropout(self, x, rate):
        return nn.functional.dropout(x, rate, self.training) if rate else x

    def forward(self, x):
        pool = nn.functional.max_pool2d
        x = pool(torch.relu(self.conv2(self.bn1(torch.relu(self.conv1(x))))), 2)
        x = self.dropout(x, self.drop / 2)
        x = pool(torch.relu(self.conv4(self.bn2(torch.relu(self.conv3(x))))), 2)
        x = self.dropout(x, self.drop / 2)
        x = self.bn3(torch.relu(self.dense1(x.flatten(1))))
        return self.dense2(self.dropout(x, self.drop))


class BasicBlock(nn.Module):
    """torchvision's, names and order of its state_dict."""

    def __init__(self, ci, co, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(ci, co, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(co)
        self.conv2 = nn.Conv2d(co, co, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(co)
        self.downsample = None
        if stride != 1 or ci != co:
            self.downsample = nn.Sequential(nn.Conv2d(ci, co, 1, stride, bias=False),
                                            nn.BatchNorm2d(co))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet18(nn.Module):
    def __init__(self, case):
        super().__init__()
        w = case["width"]
        self.conv1 = nn.Conv2d(case["channels"], w, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        for stage in range(4):
            ci, co = w << max(stage - 1, 0), w << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(
                BasicBlock(ci, co, 2 if stage else 1), BasicBlock(co, co, 1)))
        self.fc = nn.Linear(8 * w, case["classes"] if case["softmax"] else 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class ResNet50V2(nn.Module):
    """resnet.md part 2, with the head of 2.7; layers registered in the order of Keras's files."""

    def __init__(self, case):
        super().__init__()
        w = case["width"]
        self.plan, self.drop = [], case.get("dropout", 0.0)
        self.add_module("conv1_conv", nn.Conv2d(case["channels"], w, 7, 2, 3))
        channels = w
        for stage, blocks in enumerate([3, 4, 6, 3]):
            for block in range(1, blocks + 1):
                stride = 2 if block == blocks and stage < 3 else 1
                channels = self.add_block(f"conv{stage + 2}_block{block}", channels, w << stage,
                                          stride, block == 1)
        self.add_norm("post_bn", channels)
        self.dense = nn.Linear(channels, case["hidden"])
        self.dense_1 = nn.Linear(case["hidden"], case["classes"] if case["softmax"] else 1)

    def add_norm(self, name, channels):
        self.add_module(name, KerasNorm(channels, 1.001e-5, 0.01))

    def add_block(self, name, ci, f, stride, projects):
        self.add_norm(name + "_preact_bn", ci)
        self.add_module(name + "_1_conv", nn.Conv2d(ci, f, 1, bias=False))
        self.add_norm(name + "_1_bn", f)
        self.add_module(name + "_2_conv", nn.Conv2d(f, f, 3, stride, 1, bias=False))
        self.add_norm(name + "_2_bn", f)
        if projects:
            self.add_module(name + "_0_conv", nn.Conv2d(ci, 4 * f, 1))
        self.add_module(name + "_3_conv", nn.Conv2d(f, 4 * f, 1))
        self.plan.append((name, stride, projects))
        return 4 * f

    def block(self, x, name, stride, projects):
        part = lambda suffix: getattr(self, name + suffix)
        p = torch.relu(part("_preact_bn")(x))
        y = torch.relu(part("_1_bn")(part("_1_conv")(p)))
        y = torch.relu(part("_2_bn")(part("_2_conv")(y)))
        side = part("_0_conv")(p) if projects else x[:, :, ::stride, ::stride]
        return side + part("_3_conv")(y)

    def forward(self, x):
        x = nn.functional.pad(self.conv1_conv(x), (1, 1, 1, 1))
        x = nn.functional.max_pool2d(x, 3, 2)
        for name, stride, projects in self.plan:
            x = self.block(x, name, stride, projects)
        x = torch.relu(self.post_bn(x)).mean((2, 3))
        x = torch.relu(self.dense(x))
        return self.dense_1(nn.functional.dropout(x, self.drop, self.training) if self.drop else x)


BUILDERS = {"custom_cnn": build_custom_cnn, "cifar_cnn": CifarCnn, "resnet18": ResNet18,
            "resnet50v2": ResNet50V2}


def build(case):
    return BUILDERS[case.get("model", "custom_cnn")](case).double()


def logical_tensors(net):
    """Parameters and running statistics in the order of our table."""
    return [(n, t) for n, t in net.state_dict(keep_vars=True).items()
            if not n.endswith("num_batches_tracked")]


def spread_range(name, shape):
    """The range of a parameter's values: gammas around 1, weights of variance 1 / fan_in."""
    if len(shape) > 1:
        bound = math.sqrt(3.0 / np.prod(shape[1:]))
        if name.endswith("_3_conv.weight"):  # ends a branch: a deep sum of weak branches is tame
            bound *= 0.25
        return -bound, bound
    if name.endswith(".weight"):
        return 0.5, 1.5
    return -0.2, 0.2


def spread_values(net, seed):
    for i, (name, t) in enumerate(logical_tensors(net)):
        if "running" in name:
            continue
        lo, hi = spread_range(name, t.shape)
        x = lo + (hi - lo) * uniform(seed, RNG_TEST, 1000 + i, t.numel())
        t.data = torch.from_numpy(x.astype(np.float32).astype(np.float64)).reshape(t.shape)


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
        return torch.optim.Adam(groups, lr=case["lr"], eps=case.get("eps", 1e-8))
    return torch.optim.SGD(groups, lr=case["lr"], momentum=case["momentum"], nesterov=True)


def summary(x, samples=SAMPLES):
    """Sum, sum and maximum of absolute values, and entries spread over the array."""
    x = x.reshape(-1)
    index = np.unique(np.linspace(0, len(x) - 1, samples).astype(np.int64))
    return {"sum": float(x.sum()), "abs": float(np.abs(x).sum()), "max": float(np.abs(x).max()),
            "index": index.tolist(), "value": [float(np.float32(v)) for v in x[index]]}


def run(case, out):
    net = build(case)
    samples = case.get("samples", SAMPLES)
    (spread_values if case.get("spread") else initialise)(net, case["seed"])
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
                      {"name": n, "shape": list(s.shape), "grad": summary(g, samples),
                       "delta": summary(d, samples)}
                      for n, s, g, d in zip(names, start, grads, delta)])
    if case.get("spread"):
        net.eval()
        result["buffers"] = [dict(summary(t.numpy(), samples), name=n)
                             for n, t in logical_tensors(net) if "running" in n]
        result["eval_logits"] = net(x).detach().reshape(-1).tolist()
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
