#!/usr/bin/env python3
"""make_recipe_oracle.py -- writes tests/oracle/recipe_values.h: what PyTorch's optimizers, schedulers, clipping, averages
and losses make of small fixed inputs.  Needs torch; run it again only when a case is added."""
import math
import sys
import torch

torch.set_default_dtype(torch.float64)
STEPS, N = 6, 7


def start():
    return torch.tensor([math.sin(1.0 + i) for i in range(N)])


def grad(t):
    return torch.tensor([math.cos(0.7 * t + 1.3 * i) for i in range(N)])


def row(name, values):
    return "static const double %s[] = {%s};\n" % (name, ", ".join("%.17g" % v for v in values))


def optimizer(name, make, clip=0.0):
    p = torch.nn.Parameter(start())
    o = make([p])
    for t in range(1, STEPS + 1):
        for g in o.param_groups:
            g["lr"] = 0.05 / t
        p.grad = grad(t)
        if clip:
            torch.nn.utils.clip_grad_norm_([p], clip)
        o.step()
    return row(name, p.detach().tolist())


def schedule(name, make, steps=24):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    s = make(o)
    out = []
    for _ in range(steps):
        out.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    return row(name, out)


def plateau():
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    s = torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0.01, cooldown=1, min_lr=0.1)
    losses = [1.0, 0.9, 0.895, 0.894, 0.893, 0.5, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    out = []
    for x in losses:
        s.step(x)
        out.append(o.param_groups[0]["lr"])
    return row("plateau_losses", losses) + row("plateau_rates", out)


def ema():
    p = torch.nn.Linear(N, 1, bias=False)
    avg = torch.optim.swa_utils.AveragedModel(p, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
    for t in range(1, STEPS + 1):
        p.weight.data = grad(t).reshape(1, N)
        avg.update_parameters(p)
    return row("ema_values", avg.module.weight.detach().flatten().tolist())


def loss():
    x = torch.tensor([[math.sin(2.0 * n + k) * 3 for k in range(4)] for n in range(5)], requires_grad=True)
    y = torch.tensor([3, 0, 0, 2, 1])
    out = torch.nn.functional.cross_entropy(x, y, label_smoothing=0.2, reduction="none")
    out.mean().backward()
    text = row("smooth_losses", out.tolist()) + row("smooth_grads", x.grad.flatten().tolist())
    x = torch.tensor([math.sin(2.0 * n) * 3 for n in range(5)], requires_grad=True)
    t = torch.tensor([1.0, 0, 0, 1, 1]) * 0.8 + 0.1
    out = torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    out.mean().backward()
    return text + row("smooth_bce_losses", out.tolist()) + row("smooth_bce_grads", x.grad.tolist())


# torch.nn.CrossEntropyLoss(weight=w) and its mean: sum of w[y] * loss / sum of w[y].
WEIGHT = [0.5, 2.0, 1.25, 0.75]


def weighted():
    x = torch.tensor([[math.sin(2.0 * n + k) * 3 for k in range(4)] for n in range(5)], requires_grad=True)
    y = torch.tensor([3, 0, 0, 2, 1])
    out = torch.nn.functional.cross_entropy(x, y, weight=torch.tensor(WEIGHT))
    out.backward()
    text = row("class_weights", WEIGHT) + row("weighted_loss", [out.item()]) + row("weighted_grads", x.grad.flatten().tolist())
    x = torch.tensor([math.sin(2.0 * n) * 3 for n in range(5)], requires_grad=True)
    y = torch.tensor([1, 0, 0, 1, 1])
    two = torch.stack([torch.zeros(5), x], 1)  # a sigmoid's logit is a softmax of 0 and it
    out = torch.nn.functional.cross_entropy(two, y, weight=torch.tensor(WEIGHT[:2]))
    out.backward()
    return text + row("weighted_bce_loss", [out.item()]) + row("weighted_bce_grads", x.grad.tolist())


def main():
    lr = torch.optim.lr_scheduler
    warm = lambda o, rest: lr.SequentialLR(o, [lr.LinearLR(o, 0.1, 1.0, 6), rest], [6])
    text = "/* recipe_values.h -- made by tools/make_recipe_oracle.py with PyTorch %s; do not edit. */\n" % torch.__version__
    text += "#ifndef PN_TESTS_RECIPE_VALUES_H\n#define PN_TESTS_RECIPE_VALUES_H\n\n/* clang-format off */\n"
    text += optimizer("sgd_plain", lambda p: torch.optim.SGD(p, lr=1, weight_decay=0.1))
    text += optimizer("sgd_momentum", lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=0.1))
    text += optimizer("sgd_nesterov", lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, nesterov=True))
    text += optimizer("adam", lambda p: torch.optim.Adam(p, lr=1, weight_decay=0.1))
    text += optimizer("adamw", lambda p: torch.optim.AdamW(p, lr=1, weight_decay=0.1))
    text += optimizer("adamw_clipped", lambda p: torch.optim.AdamW(p, lr=1, weight_decay=0.1), clip=0.5)
    text += schedule("rate_step", lambda o: lr.LambdaLR(o, lambda i: 0.5 ** ((i // 4) // 2)))
    text += schedule("rate_cosine", lambda o: lr.CosineAnnealingLR(o, 24, eta_min=0.05))
    text += schedule("rate_warm_cosine", lambda o: warm(o, lr.CosineAnnealingLR(o, 18, eta_min=0.0)))
    text += schedule("rate_onecycle", lambda o: lr.OneCycleLR(o, 1.0, total_steps=24, pct_start=0.3, cycle_momentum=False), 23)
    text += plateau() + ema() + loss() + weighted()
    text += "/* clang-format on */\n\n#endif\n"
    sys.stdout.write(text)


main()
