"""A task from data and an ordinary module: everything else that a stack in training needs."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from grokfast._checks import check_fraction, parse_choice
from grokfast._generators import generator_kept, seed_generator
from grokfast.errors import ConfigError
from grokfast.measures import Column
from grokfast.models import Params
from grokfast.tasks.base import Features, Split
from grokfast.tasks.bound import Bound
from grokfast.tasks.fields import take_types
from grokfast.tasks.modules import check_module, named
from grokfast.tasks.outputs import Judged, Loss, LossFunction, are_labels, judge
from grokfast.tasks.streams import stream


@dataclass(frozen=True, kw_only=True)
class NetworkTask:
    """Base of a task of your own: derive from it, give ``data`` and ``module``, and it trains.

    ``data()`` gives all samples; which are trained on is drawn by the run's seed. A task with a split of its own
    overrides ``split(seed)`` instead. ``loss`` is cross entropy unless the class says otherwise: another
    :class:`Loss`, or a method ``loss(self, outputs, labels)`` that gives one number a sample. Integer labels ``[N]``
    are classes; float targets ``[N, K]`` are regressed on, and accuracies are NaN then.

    The network may be any module that maps ``encode(inputs)`` to outputs ``[N, C]``: parameters of any name,
    nested, tied. Constant buffers are shared by the members. What is random or depends on other samples (dropout, batch
    normalisation) is refused. Initial parameters are torch's default initialisation, drawn under the run's own
    stream; or what the module's ``reset(generator)`` draws, if it has that method. Both are multiplied by w0.

    Args:
        train_fraction: Share of the samples used for training, in (0, 1).
        label_noise: Share of the training labels replaced by a wrong class drawn at random, in [0, 1].
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    loss: ClassVar[Any] = Loss.CROSS_ENTROPY
    input_major: ClassVar[tuple[str, ...]] = ()
    member_by_member: ClassVar[bool] = True
    unkeyed: ClassVar[tuple[str, ...]] = ()

    train_fraction: float = 0.5
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        take_types(self)
        check_fraction("train_fraction", self.train_fraction, error=ConfigError)
        check_fraction("label_noise", self.label_noise, closed=True, error=ConfigError)
        self._check_own_split()

    def _check_own_split(self) -> None:
        """With a split of its own, the fields of this class's split say nothing, unless the task declares them too."""
        if type(self).split is NetworkTask.split:
            return
        own = {
            name
            for cls in type(self).__mro__[:-1]
            if cls is not NetworkTask
            for name in vars(cls).get("__annotations__", {})
        }
        for field in dataclasses.fields(NetworkTask):
            if field.name not in own and getattr(self, field.name) != field.default:
                raise ConfigError(f"task {self.name} has a split of its own, which {field.name} says nothing about")

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what is remembered besides is made again."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    # What a task of one's own gives.

    def data(self) -> tuple[Tensor, Tensor]:
        """All samples: inputs ``[N, ...]``, and labels int64 ``[N]`` or float targets ``[N, K]``."""
        raise NotImplementedError(f"task {self.name} must give data(), or a split(seed) of its own")

    def module(self) -> nn.Module:
        """The network, freshly initialised by torch."""
        raise NotImplementedError(f"task {self.name} must give module()")

    def encode(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """What the network takes for inputs ``[..., N, ...]``: floats in ``dtype``, integers as they are."""
        return inputs.to(dtype) if inputs.is_floating_point() else inputs

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Training where a run's configuration does not set it: AdamW's usual rates, full batch, 1,000 epochs."""
        return {"epochs": 1000, "batch_size": self.train_samples, "learning_rate": 1e-3, "weight_decay": 0.0}

    @property
    def columns(self) -> Sequence[Column]:
        """What each scalar and array of ``features`` means."""
        return ()

    @property
    def pruned(self) -> Sequence[str] | None:
        """Names of the parameters that pruning takes; None for all matrices and kernels."""
        return None

    def features(self, params: Mapping[str, Tensor], inputs: Tensor) -> Features:
        """Features of the stack ``[E, ...]``, on test inputs ``[E, N, ...]``; none unless overridden."""
        return Features({}, {})

    # What follows from it.

    def split(self, seed: int) -> Split:
        """⌊train_fraction · N⌋ samples for training, drawn by the seed, and the rest for test."""
        inputs, labels = self._samples()
        train = self._train_count(len(labels))
        order = torch.randperm(len(labels), generator=stream(seed, "split"))
        chosen, rest = order[:train], order[train:]
        return Split(inputs[chosen], self._noisy(labels[chosen], seed), inputs[rest], labels[rest])

    def _samples(self) -> tuple[Tensor, Tensor]:
        samples: Any = self.data()
        if not isinstance(samples, tuple | list) or [isinstance(part, Tensor) for part in samples] != [True, True]:
            parts = samples if isinstance(samples, tuple | list) else [samples]
            raise ConfigError(
                f"data() of task {self.name} must give two tensors, inputs and labels, got "
                f"{', '.join(type(part).__name__ for part in parts[:4]) or 'none'}"
            )
        inputs, labels = samples
        if not inputs.dim() or not labels.dim() or len(inputs) != len(labels):
            raise ConfigError(
                f"data() of task {self.name} must give as many inputs as labels, got {list(inputs.shape)} and "
                f"{list(labels.shape)}"
            )
        return inputs, labels

    def _train_count(self, samples: int) -> int:
        train = int(self.train_fraction * samples + 1e-9)
        if not 0 < train < samples:
            raise ConfigError(
                f"train_fraction must leave at least one of the {samples} samples on each side, "
                f"got {self.train_fraction}"
            )
        return train

    def _noisy(self, labels: Tensor, seed: int) -> Tensor:
        if not self.label_noise:
            return labels
        if not are_labels(labels):
            raise ConfigError("label_noise replaces classes by wrong ones: the targets of a regression have none")
        generator, classes = stream(seed, "labels"), self._classes
        wrong = torch.randperm(len(labels), generator=generator)[: round(self.label_noise * len(labels))]
        shift = torch.randint(1, classes, (len(wrong),), generator=generator)
        noisy = labels.clone()
        noisy[wrong] = (noisy[wrong] + shift) % classes
        return noisy

    @cached_property
    def _classes(self) -> int:
        """Outputs of the network."""
        inputs = self.data()[0][:1]
        module = self.draw(0)
        with torch.no_grad():
            return int(module(self.encode(inputs, torch.get_default_dtype())).shape[-1])

    @property
    def train_samples(self) -> int:
        """Number of training samples."""
        return _facts(self)[0]

    @property
    def has_accuracy(self) -> bool:
        """Whether the targets are classes."""
        return _facts(self)[1]

    def draw(self, seed: int) -> nn.Module:
        """The network drawn under the stream of a seed; torch's global generator is left as it was.

        Raises:
            ConfigError: If it cannot be a member of a stack.
        """
        generator = stream(seed, "initial")
        with generator_kept():
            seed_generator(int(torch.randint(2**62, (), generator=generator)))
            module = check_module(self.module(), self.name)
        reset = getattr(module, "reset", None)
        if callable(reset):
            reset(generator)
        return module

    def initial(self, seed: int, w0: float, dtype: torch.dtype) -> Params:
        """The initialisation of torch, or of the module's ``reset``, under the seed's stream, times ``w0``."""
        drawn = named(self.draw(seed))
        return {name: (tensor.double() * w0).to(dtype) for name, tensor in drawn.items()}

    def logits(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs ``[E, N, C]`` of inputs ``[E, N, ...]``, differentiable in the parameters."""
        module = self._here.skeleton(self, params)
        dtype = next(iter(params.values())).dtype
        outputs = []
        for e in range(len(inputs)):
            own = {name: tensor[e] for name, tensor in params.items()}
            outputs.append(functional_call(module, own, (self.encode(inputs[e], dtype),)))
        return torch.stack(outputs)

    def losses(self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss ``[E]`` and right predictions ``[E]``."""
        with torch.no_grad():
            found = [self.judge(*one) for one in zip(self.logits(params, inputs), labels, strict=True)]
        return _columns(found)

    def gradients(
        self, params: Mapping[str, Tensor], inputs: Tensor, labels: Tensor, out: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The losses, and their gradients into ``out``.

        Member by member, on modules that live on the stack's memory: what a member learns cannot depend on who is
        stacked with it.
        """
        found = []
        dtype = next(iter(params.values())).dtype
        members, slots = self._here.members(self, params), self._here.slots(params, out)
        for e, (module, parameters) in enumerate(members):
            encoded = self.encode(inputs[e], dtype)
            recorded = self._here.recorded(e, self, params, out, encoded)
            outputs = module(encoded) if recorded is None else recorded.forward(encoded)
            judged = self.judge(outputs.detach(), labels[e], with_gradient=True)
            if recorded is None or judged.gradient is None:
                gradients = torch.autograd.grad(outputs, parameters, judged.gradient)
                torch._foreach_copy_(slots[e], gradients)
            else:
                recorded.backward(judged.gradient)
            found.append(judged)
        return _columns(found)

    def judge(self, outputs: Tensor, labels: Tensor, with_gradient: bool = False) -> Judged:
        """Mean loss and right predictions, scalars, of one member's outputs, and the loss's gradient in them."""
        return judge(self.loss_function, outputs, labels, with_gradient)

    @cached_property
    def loss_function(self) -> Loss | LossFunction:
        """``loss``, as the class or one of its methods has it."""
        return self.loss if callable(self.loss) else parse_choice("loss", self.loss, Loss, error=ConfigError)

    @property
    def _here(self) -> Bound:
        """This thread's modules: a module that takes a stack's parameters serves one thread at a time."""
        threads = self.__dict__.setdefault("_threads", {})
        return threads.setdefault(threading.get_ident(), Bound())  # type: ignore[no-any-return]


def _facts(task: NetworkTask) -> tuple[int, bool]:
    """Number of training samples and whether their labels are classes; asked once of equal tasks."""
    try:
        return _looked_up(task)
    except TypeError:  # a field that cannot be hashed
        return _look_up(task)


def _look_up(task: NetworkTask) -> tuple[int, bool]:
    labels = task.split(0).train_labels
    return len(labels), are_labels(labels)


_looked_up = functools.lru_cache(maxsize=64)(_look_up)


def _columns(found: Sequence[Judged]) -> tuple[Tensor, Tensor]:
    if len(found) == 1:
        return found[0].loss[None], found[0].correct[None]
    return torch.stack([judged.loss for judged in found]), torch.stack([judged.correct for judged in found])
