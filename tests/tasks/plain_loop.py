"""Training written out in torch: what every task, network, loss, schedule and hook is compared with."""

from __future__ import annotations

import math

import torch
from torch import nn

from grokfast.tasks import Modular, Permutations, SparseParity, load_parameters, stream
from grokfast.training import RunConfig

P = 7

NETWORKS = {
    "mlp": {"hidden": (9,)},
    "deep mlp": {"hidden": (9, 6), "activation": "gelu"},
    "quadratic": {"hidden": (9,), "activation": "quadratic", "bias": False},
    "embedding": {"network": "embedding-mlp", "hidden": (9,), "width": 4},
    "deep embedding": {
        "network": "embedding-mlp",
        "hidden": (9, 6),
        "width": 4,
        "activation": "quadratic",
        "bias": False,
    },
    "transformer": {"network": "transformer", "hidden": (10,), "width": 8, "heads": 2},
    "two layers": {"network": "transformer", "hidden": (10,), "width": 8, "heads": 2, "layers": 2},
}
TASKS = {
    "modular": lambda **network: Modular(P=P, operation="a*b", **network),
    "permutations": lambda **network: Permutations(n=3, **network),
    "parity": lambda **network: SparseParity(n=5, k=2, samples=30, **network),
}
CASES = {f"{task}, {name}": TASKS[task](**fields) for task in TASKS for name, fields in NETWORKS.items()}
LOSSES = {
    "cross-entropy": nn.functional.cross_entropy,
    "mean-squared-error": lambda f, y: ((f - torch.eye(f.shape[1], dtype=f.dtype)[y]) ** 2).mean(),
    "stablemax": lambda f, y: _stablemax(f, y),
    "hinge": lambda f, y: (1 - _lead(f, y)).clamp_min(0).mean(),
}


def _lead(outputs, labels):
    """How far the right output is ahead of the largest wrong one."""
    right = torch.arange(outputs.shape[1]) == labels[:, None]
    return (outputs * right).sum(1) - outputs.masked_fill(right, -torch.inf).amax(1)


def _stablemax(outputs, labels):
    s = torch.where(outputs >= 0, outputs + 1, 1 / (1 - outputs.clamp_max(0)))
    return -(s / s.sum(1, keepdim=True)).log()[torch.arange(len(labels)), labels].mean()


def factor(config, step, steps):
    """The learning rate's schedule, with torch's own formulas in mind: LinearLR's and CosineAnnealingLR's."""
    if step <= config.warmup_steps:
        return step / config.warmup_steps
    x = (step - 1 - config.warmup_steps) / (steps - config.warmup_steps)
    end = config.rate_end
    return {"none": 1, "linear": 1 + x * (end - 1), "cosine": (1 + end + (1 - end) * math.cos(math.pi * x)) / 2}[
        config.rate_decay
    ]


class PlainHooks:
    """The hooks of a configuration, each as its paper's code has it."""

    def __init__(self, module, names):
        self.parameters = list(module.parameters())
        self.names = names
        self.means = None
        self.radius = self.length()

    def length(self):
        return math.sqrt(sum(parameter.detach().square().sum().item() for parameter in self.parameters))

    def before(self):
        for name in self.names:
            if name.startswith("ema"):
                alpha, amplification = map(float, name.split(":")[1:])
                if self.means is None:
                    self.means = [parameter.grad.clone() for parameter in self.parameters]
                for k, parameter in enumerate(self.parameters):
                    self.means[k] = self.means[k] * alpha + parameter.grad * (1 - alpha)
                    parameter.grad = parameter.grad + self.means[k] * amplification
            if name == "orthogonal":
                for parameter in self.parameters:
                    w, g = parameter.detach().flatten(), parameter.grad.flatten()
                    orthogonal = g - torch.dot(w, g) / (torch.dot(w, w) + 1e-30) * w
                    if orthogonal.norm() < 1.5e-8 * g.norm():  # rounding, not a direction
                        orthogonal = torch.zeros_like(g)
                    scaled = orthogonal * (g.norm() / (orthogonal.norm() + 1e-30))
                    parameter.grad = scaled.view_as(parameter)

    def after(self):
        if "sphere" in self.names:
            ratio = self.radius / self.length()
            with torch.no_grad():
                for parameter in self.parameters:
                    parameter *= ratio


def plain_loop(config, epochs):
    """The optimiser on the module itself, written out."""
    task = config.task
    split = task.split(config.seed)
    module = load_parameters(task.module().double(), task.initial(config.seed, config.w0, torch.float64))
    betas, rate, decay = (config.beta1, config.beta2), config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(module.parameters(), lr=rate, momentum=config.momentum, weight_decay=decay)
    else:
        kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        optimizer = kind(module.parameters(), lr=rate, betas=betas, eps=config.eps, weight_decay=decay)
    hooks = PlainHooks(module, config.hooks)
    order = torch.randperm(len(split.train_labels), generator=stream(config.seed, "order"))
    inputs, labels = split.train_inputs[order], split.train_labels[order]
    starts = range(0, len(labels), config.batch_size)
    step = 0
    for _ in range(epochs):
        for first in starts:
            batch = slice(first, first + config.batch_size)
            step += 1
            optimizer.param_groups[0]["lr"] = rate * factor(config, step, epochs * len(starts))
            optimizer.zero_grad()
            outputs = module(task.encode(inputs[batch], torch.float64))
            LOSSES[getattr(task, "loss", "cross-entropy")](outputs, labels[batch]).backward()
            hooks.before()
            optimizer.step()
            hooks.after()
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def of(run):
    """The end model's parameters."""
    last = max(int(name.split("/")[0]) for name in run.tensors["checkpoints"])
    found = run.tensors["checkpoints"]
    return {name.partition("/")[2]: found[name] for name in found if name.startswith(f"{last}/")}


def configs(task, members, **changes):
    given = {"epochs": 25, "batch_size": 12, "learning_rate": 3e-3, "weight_decay": 0.1, "optimizer": "adamw"}
    given |= {"feature_schedule": "never", "test_schedule": "last"}
    return [RunConfig(task=task, seed=e, w0=0.7, beta2=0.98, **{**given, **changes}) for e in range(members)]
