#!/usr/bin/env python3
"""Writes tests/oracle/weights_*: the weights of case cnn_softmax in files of the real libraries.

The values are those of tools/make_oracle.py (a counter generator), so a reader can be checked
without storing them again.  Needs torch, safetensors and h5py:
    python3 tools/make_weights.py [OUT_DIR]
"""
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
from safetensors.torch import save_file

from make_oracle import CASES, build, initialise

LAYERS = ["conv1", "conv2", "fc1", "fc2"]


def keras_layers(net):
    """Kernels and biases as Keras holds them: H W I O, dense I O with inputs flattened H W C."""
    state, out = net.state_dict(), []
    for name in LAYERS:
        w = state[name + ".weight"].float().numpy()
        if w.ndim == 4:
            w = w.transpose(2, 3, 1, 0)
        else:
            if name == "fc1":
                c = state["conv2.weight"].shape[0]
                h, v = 4, 3
                w = w.reshape(w.shape[0], c, h, v).transpose(0, 2, 3, 1).reshape(w.shape[0], -1)
            w = w.T
        out.append((name, w, state[name + ".bias"].float().numpy()))
    return out


def write_keras(path, net, rename, fixed, top):
    """fixed: NUL-padded strings as h5py 2 wrote them; top: group that holds the layers."""
    def strings(names):
        if fixed:
            return np.array([n.encode() for n in names])
        return np.array(names, dtype=h5py.string_dtype())

    with h5py.File(path, "w") as f:
        root = f.create_group(top) if top else f
        names = [rename(i, n) for i, (n, _, _) in enumerate(keras_layers(net))]
        root.attrs["layer_names"] = strings(names[:1] + ["flatten"] + names[1:])
        root.create_group("flatten").attrs["weight_names"] = np.zeros(0)  # an empty list: float64
        for name, (_, kernel, bias) in zip(names, keras_layers(net)):
            group = root.create_group(name)
            group.attrs["weight_names"] = strings([name + "/kernel:0", name + "/bias:0"])
            group[name + "/kernel:0"] = np.ascontiguousarray(kernel)
            group[name + "/bias:0"] = bias


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1] / "tests/oracle")
    case = next(c for c in CASES if c["name"] == "cnn_softmax")
    net = build(case)
    initialise(net, case["seed"])
    state = {k: v.float().contiguous() for k, v in net.state_dict().items()}
    save_file(state, out / "weights_f32.safetensors", metadata={"format": "pt"})

    mixed = dict(state)
    mixed["conv2.weight"] = state["conv2.weight"].to(torch.bfloat16)
    mixed["fc1.weight"] = state["fc1.weight"].to(torch.float16)
    mixed["fc1.bias"] = state["fc1.bias"].double()
    mixed["bn.num_batches_tracked"] = torch.tensor(7)
    del mixed["fc2.bias"]
    mixed["fc2.weight"] = torch.zeros(10, 12)
    save_file(mixed, out / "weights_mixed.safetensors")

    write_keras(out / "weights_fixed.h5", net, lambda i, n: n, True, None)
    keras = ["conv2d", "conv2d_1", "dense", "dense_1"]
    write_keras(out / "weights_position.h5", net, lambda i, n: keras[i], False, "model_weights")


if __name__ == "__main__":
    main()
