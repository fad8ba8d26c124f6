#!/usr/bin/env python3
"""For test_real_weights.sh: weight files as the real torchvision and Keras write them, and their logits.

  real_weights.py images         24 PNG files below images/
  real_weights.py make CASE      CASE's weight file with random weights
  real_weights.py compare CASE   logits of the real network for images/*, against CASE.csv of `pneuma predict`
"""
import csv
import glob
import os
import sys

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import numpy as np
from PIL import Image

SIDE = {"torchvision": 64, "keras": 64, "keras_notop": 64, "keras_cifar": 32}


def images():
    rng = np.random.default_rng(4)
    for k, name in enumerate(["a", "b", "c"]):
        os.makedirs("images/" + name, exist_ok=True)
        for i in range(8):
            coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            coarse[..., k] //= 2
            Image.fromarray(coarse).resize((64, 64), Image.BILINEAR).save("images/%s/%d.png" % (name, i))


def batch(side):
    """As pneuma reads them; the files have the network's side, so that nothing is resized."""
    files = sorted(glob.glob("images%d/*/*.png" % side))
    x = np.stack([np.asarray(Image.open(f), dtype=np.float64) for f in files])
    return files, (x / 255 - 0.5) / 0.25


def spread(name, old, rng):
    """Norms that do something, and networks that neither explode nor fade."""
    if name.endswith(("running_var", "moving_variance")):
        return rng.uniform(0.5, 1.5, old.shape)
    if name.endswith(("running_mean", "moving_mean", "bias", "beta")):
        return rng.uniform(-0.2, 0.2, old.shape)
    if name.endswith("gamma") or old.ndim == 1 and name.endswith("weight"):
        return rng.uniform(0.9, 1.5, old.shape)
    return None


def make_torchvision():
    import torch
    import torchvision
    from safetensors.torch import save_file
    torch.manual_seed(1)
    net, rng = torchvision.models.resnet18(weights=None, num_classes=3), np.random.default_rng(2)
    state = net.state_dict()
    for name, value in state.items():
        new = spread(name, value.numpy(), rng) if value.is_floating_point() else None
        if new is not None:
            value.copy_(torch.from_numpy(new))
    save_file({k: v.contiguous() for k, v in state.items()}, "torchvision.safetensors")
    return net


def shake(model):
    rng = np.random.default_rng(3)
    for layer in model.layers:
        for w in layer.weights:
            new = spread(w.path, w.numpy(), rng)
            if new is not None:
                w.assign(new)


def keras_net(top):
    import keras
    keras.utils.set_random_seed(1)
    base = keras.applications.ResNet50V2(weights=None, include_top=False, input_shape=(64, 64, 3))
    if not top:
        shake(base)
        return base
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    x = keras.layers.Dense(128, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(base.input, keras.layers.Dense(3, name="dense_1")(x))
    shake(model)
    return model


def make_keras():
    model = keras_net(True)
    model.save("keras.h5")
    return model


def make_keras_notop():
    from keras.src.legacy.saving import legacy_h5_format
    model = keras_net(False)
    with h5py.File("keras_notop.h5", "w") as f:
        legacy_h5_format.save_weights_to_hdf5_group(f, model)
    return model


def make_keras_cifar():
    import keras
    from keras import layers as l
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((32, 32, 3)),
        l.Conv2D(32, 3, padding="same", activation="relu"), l.BatchNormalization(), l.Conv2D(32, 3, activation="relu"), l.MaxPooling2D(), l.Dropout(0.25),
        l.Conv2D(64, 3, padding="same", activation="relu"), l.BatchNormalization(), l.Conv2D(64, 3, activation="relu"), l.MaxPooling2D(), l.Dropout(0.25),
        l.Flatten(), l.Dense(512, activation="relu"), l.BatchNormalization(), l.Dropout(0.5), l.Dense(3)])
    shake(model)
    model.save("keras_cifar.h5")
    return model


def with_head(base):
    """The head that pneuma drew for the notop file, from its checkpoint."""
    import keras
    (path,) = glob.glob("run-keras_notop/checkpoints/step_*/part_0000.h5")
    with h5py.File(path) as f:
        head = {k: f["param/" + k][()] for k in ("dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias")}
    x = keras.layers.GlobalAveragePooling2D()(base.output)
    one, two = keras.layers.Dense(128, activation="relu"), keras.layers.Dense(3)
    model = keras.Model(base.input, two(one(x)))
    one.set_weights([head["dense.kernel"].T, head["dense.bias"]])
    two.set_weights([head["dense_1.kernel"].T, head["dense_1.bias"]])
    return model


def real_logits(case, x):
    model = globals()["make_" + case]()  # the same seeds: the same weights
    if case == "torchvision":
        import torch
        with torch.no_grad():
            return model.double().eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    if case == "keras_notop":
        model = with_head(model)
    return np.asarray(model.predict(x.astype(np.float32), verbose=0), dtype=np.float64)


def compare(case):
    files, x = batch(SIDE[case])
    want = real_logits(case, x)
    want = want - want.mean(1, keepdims=True)
    rows = {r["file"]: r for r in csv.DictReader(open(case + ".csv"))}
    got = np.log(np.array([[float(rows[f][k]) for k in ("p_a", "p_b", "p_c")] for f in files]))
    got = got - got.mean(1, keepdims=True)  # of the softmax: logits up to a number per image
    error = np.abs(got - want).max() / np.abs(want).max()
    assert np.ptp(want, axis=0).max() > 0.02 * np.abs(want).max() > 1e-3, "these logits say nothing"
    print("%s: %d images, logits from %.4f to %.4f, largest difference %.1e of the largest" %
          (case, len(files), want.min(), want.max(), error))
    sys.exit(not error < 1e-4)


def main():
    if sys.argv[1] == "images":
        images()
        for side in (64, 32):
            for path in sorted(glob.glob("images/*/*.png")):
                to = path.replace("images", "images%d" % side)
                os.makedirs(os.path.dirname(to), exist_ok=True)
                Image.open(path).resize((side, side), Image.BILINEAR).save(to)
    elif sys.argv[1] == "make":
        globals()["make_" + sys.argv[2]]()
    else:
        compare(sys.argv[2])


main()
