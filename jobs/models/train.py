"""Train the networks of jobs/models on Fashion-MNIST or MNIST, with torch (CPU, one thread).

    python jobs/models/train.py dense|vgg|even-odd --data DIR -o FILE.npz

DIR holds the four original IDX files, gzipped or not; images and labels are told by their names
(``train``, ``t10k`` and ``images``, ``labels``). The last 5,000 training images are held out: they
are the calibration split, which no network is trained on.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hpcrefine.errors import InputError
from hpcrefine.inference.evaluate import evaluate
from hpcrefine.inference.files import load_network, save_network
from hpcrefine.inference.fold import folded, normalisation
from hpcrefine.inference.network import Network, Node, decisions
from hpcrefine.inputs.formats import read_idx

HELD_OUT = 5000
SCALE = 1 / 255
SEED = 1
VGG = (16, 16, 0, 32, 32, 0, 64, 64, 64, 0, 128, 128, 128, 0, 128, 128, 128, 0)  # 0: max-pool

Bytes = NDArray[np.uint8]
Split = tuple[Bytes, Bytes]


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained."""

    build: Callable[[], nn.Sequential]
    shape: tuple[int, ...]
    epochs: int
    rate: float
    decay: float = 0.0
    batch: int = 128
    flips: bool = False
    smoothing: float = 0.0


def dense() -> nn.Sequential:
    """Return 784-1024-1024-10 with ReLUs."""
    layers: list[nn.Module] = []
    for width in (784, 1024):
        layers += [nn.Linear(width, 1024), nn.BatchNorm1d(1024), nn.ReLU(), nn.Dropout(0.3)]
    return nn.Sequential(*layers, nn.Linear(1024, 10))


def vgg() -> nn.Sequential:
    """Return 13 convolutions in the layout of VGG16, a quarter as wide, and a dense layer."""
    layers: list[nn.Module] = []
    channels = 1
    for width in VGG:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        padding = 1 if layers else 3  # 28 x 28 becomes 32 x 32
        layers.append(nn.Conv2d(channels, width, 3, padding=padding, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))


def even_odd() -> nn.Sequential:
    """Return the published 784-20-20-1; the loss and the export add its sigmoid."""
    return nn.Sequential(
        *(nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU()),
        nn.Linear(20, 1),
    )


RECIPES = {
    "dense": Recipe(dense, (784,), 14, 2e-3, 5e-2),
    "vgg": Recipe(vgg, (1, 28, 28), 4, 4e-3, 2e-2, flips=True, smoothing=0.05),
    "even-odd": Recipe(even_odd, (784,), 10, 3e-3),
}


def main() -> None:
    """Train, save with weights in float16, and measure what was saved."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True, help="folder with the IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    binary = options.network == "even-odd"
    images, labels = read_split(options.data, "train", binary)
    test = read_split(options.data, "t10k", binary)
    held_out = images[-HELD_OUT:], labels[-HELD_OUT:]

    recipe = RECIPES[options.network]
    start = time.perf_counter()
    model = train(recipe, (images[:-HELD_OUT], labels[:-HELD_OUT]))
    seconds = time.perf_counter() - start
    facts = {"trained": f"{recipe.epochs} epochs, {seconds:.0f} s, 1 thread, seed {SEED}"}
    save_network(exported(model, recipe.shape, facts), options.output, half=True)
    rounded = load_network(options.output)
    for name, split in (("test", test), ("held out", held_out)):
        facts[f"accuracy, {name}"] = f"{accuracy(rounded, split):.2%} of {len(split[1])}"
    save_network(exported(model, recipe.shape, facts), options.output, half=True)
    print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n")


def read_split(folder: Path, name: str, binary: bool) -> Split:
    """Read images and labels of a split; binary: whether a label is even."""
    images, labels = (read_idx(_only(folder, f"{name}*{kind}*")) for kind in ("images", "labels"))
    return images, (labels % 2 == 0).astype(np.uint8) if binary else labels


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder / pattern}: found {len(found)} files, expected one")
    return found[0]


def train(recipe: Recipe, split: Split) -> nn.Sequential:
    """Train a network with AdamW; the rate rises and falls along a cosine, once."""
    images = torch.from_numpy(split[0].astype(np.float32) * np.float32(SCALE))[:, None]
    labels = torch.from_numpy(split[1].astype(np.int64))
    model = recipe.build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay)
    steps = recipe.epochs * (len(labels) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, steps)
    for epoch in range(recipe.epochs):
        total = 0.0
        for chosen in torch.randperm(len(labels)).split(recipe.batch)[: steps // recipe.epochs]:
            batch = flipped(images[chosen]) if recipe.flips else images[chosen]
            optimizer.zero_grad()
            lost = loss(model(batch.reshape(-1, *recipe.shape)), labels[chosen], recipe.smoothing)
            lost.backward()
            optimizer.step()
            schedule.step()
            total += lost.item()
        print(f"epoch {epoch + 1} of {recipe.epochs}: loss {total * recipe.epochs / steps:.4f}")
    return model.eval()


def flipped(images: Tensor) -> Tensor:
    """Return images, half of them with left and right swapped."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)


def loss(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy, binary for a single score."""
    if scores.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(scores[:, 0], labels.float())
    return functional.cross_entropy(scores, labels, label_smoothing=smoothing)


def exported(model: nn.Sequential, shape: tuple[int, ...], facts: dict[str, str]) -> Network:
    """Return a trained model as a network of ours, batch normalisations folded."""
    nodes: list[Node] = []
    layers = [layer for layer in model if not isinstance(layer, nn.Dropout)]
    for layer in layers:
        before = nodes[-1].name if nodes else "input"
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            statistics = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            arrays = [value.detach().numpy() for value in statistics]
            nodes[-1] = folded(nodes[-1], **normalisation(*arrays, layer.eps))
        else:
            nodes.append(exported_layer(layer, f"{kind(layer)}{len(nodes)}", before))
    final = "sigmoid" if layers[-1].out_features == 1 else "softmax"
    nodes.append(Node(final, final, (nodes[-1].name,)))
    return Network(shape, tuple(nodes), input_scale=SCALE, facts=facts)


KINDS = {
    nn.Linear: "dense",
    nn.Conv2d: "conv",
    nn.MaxPool2d: "maxpool",
    nn.ReLU: "relu",
    nn.Flatten: "flatten",
}


def kind(layer: nn.Module) -> str:
    """Return what a layer of torch is called in networks of ours."""
    return KINDS[type(layer)]


def exported_layer(layer: nn.Module, name: str, before: str) -> Node:
    """Return a layer of torch as a node."""
    weights = {key: value.detach().numpy() for key, value in layer.named_parameters()}
    attributes: dict[str, tuple[int, ...]] = {}
    if isinstance(layer, nn.Conv2d):
        attributes = {"stride": (1, 1), "padding": (int(layer.padding[0]),) * 4}
        weights["bias"] = np.zeros(layer.out_channels, np.float32)
    if isinstance(layer, nn.MaxPool2d):
        attributes = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}
    return Node(name, kind(layer), (before,), attributes, weights)


def accuracy(network: Network, split: Split) -> float:
    """Return the share of a split that a network decides as labelled."""
    images, labels = split
    scores = evaluate(network, images.reshape(-1, *network.input_shape))
    return float(np.mean(decisions(scores) == labels))


if __name__ == "__main__":
    main()
