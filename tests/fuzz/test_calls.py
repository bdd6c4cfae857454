"""Random calls of the public functions: a right answer, our error, or a clear ValueError or TypeError; nothing else."""

from __future__ import annotations

import contextlib
import math
import random
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from grokfast import measures as m
from grokfast import pruning as p
from grokfast.errors import GrokfastError
from grokfast.fisher import fisher_diag, fisher_gram, fisher_inner, fisher_vector_product
from grokfast.ising import IsingSampler, ising_dataset
from grokfast.observe.schedule import canonical_schedule, schedule_epochs
from grokfast.tasks import Ising, Modular, ModularAddition, SparseParity
from grokfast.training import RunConfig

Chance = random.Random
EPOCHS = np.arange(1.0, 7.0)


def rand(c: Chance, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(c.randrange(10**6)), dtype=torch.float64)


def whole(c: Chance, below: int, *shape: int) -> Tensor:
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(c.randrange(10**6)))


def stack(c: Chance) -> dict[str, Tensor]:
    return {"0.weight": rand(c, 2, 4, 3) - 0.5, "0.bias": rand(c, 2, 4) - 0.5}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))


def own(c: Chance) -> dict[str, Tensor]:
    return {name: rand(c, *value.shape) - 0.5 for name, value in network().named_parameters()}


def within(low: float, high: float) -> Callable[[Any], bool]:
    """Whether all of an answer lies in a range, to rounding, or is NaN."""

    def holds(found: Any) -> bool:
        values = torch.as_tensor(found, dtype=torch.float64)
        return bool((values.isnan() | ((values >= low - 1e-6) & (values <= high + 1e-6))).all())

    return holds


def real(found: Any) -> bool:
    parts = found if isinstance(found, tuple) else vars(found).values() if hasattr(found, "__dict__") else [found]
    return all(not isinstance(part, Tensor) or not part.is_complex() for part in parts)


def named(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values())


def curve(c: Chance) -> dict[str, Any]:
    return {"fractions": torch.linspace(0, 1, 5, dtype=torch.float64), "accuracies": rand(c, 2, 5)}


def samples(c: Chance) -> dict[str, Any]:
    return {"x": rand(c, 2, 6, 3), "y": rand(c, 2, 6, 4), "debiased": c.random() < 0.5}


def steps(c: Chance) -> dict[str, Any]:
    return {"u": stack(c), "v": stack(c), "metric": {name: value.abs() for name, value in stack(c).items()}}


def of_module(c: Chance) -> dict[str, Any]:
    scheme = c.choice(["layerwise", "global", "global-by-norm", "fisher-global", "taylor-layerwise", "random"])
    return {"model": network(), "fraction": c.random(), "scheme": scheme, "names": None, "fisher": own(c),
            "gradients": own(c), "generator": torch.Generator().manual_seed(0)}  # fmt: skip


def of_fisher(c: Chance) -> dict[str, Any]:
    return {"model": network(), "inputs": rand(c, 5, 3).float(), "likelihood": c.choice(["categorical", "gaussian"]),
            "reduction": c.choice(["mean", "sum"]), "batch_size": c.choice([None, 2]), "mask": None}  # fmt: skip


def directed(c: Chance, *names: str) -> dict[str, Any]:
    return {**of_fisher(c), **{name: {key: value.float() for key, value in own(c).items()} for name in names}}


def run(c: Chance) -> dict[str, Any]:
    return {"task": ModularAddition(P=5, hidden=(4,)), "w0": 2.0, "seed": 3, "epochs": 9, "batch_size": 4,
            "optimizer": "adam", "learning_rate": 0.1, "weight_decay": 0.0, "beta1": 0.5, "beta2": 0.5, "eps": 1e-3,
            "momentum": 0.1, "reshuffle": True, "train_metrics": "full", "precision": "float64",
            "checkpoint_schedule": "log:3", "feature_schedule": "every:2", "test_schedule": "at:3+4",
            "geometry": "logit-4", "geometry_schedule": "last", "geometry_step": 2, "geometry_stiff": 0.5,
            "observe": ["norms@last"]}  # fmt: skip


def reads_back(config: RunConfig) -> bool:
    """What a configuration was made of can be written and opened again, with the same key."""
    again = RunConfig.from_dict(config.to_dict())
    return again == config and again.key == config.key


def ising(c: Chance) -> dict[str, Any]:
    return {"L": c.choice([2, 4, (2, 4)]), "temperatures": [1.0, 2.5], "replicas": 2, "dynamics": "metropolis",
            "J": 1.0, "field": 0.0, "boundary": "periodic", "init": "random", "seed": 1, "threads": 1,
            "layout": None}  # fmt: skip


def sampled(**given: Any) -> Any:
    sampler = IsingSampler(**given)
    assert sampler.spins.size <= 10**6
    return sampler


def tensors(*shapes: tuple[str, tuple[int, ...]], **more: Any) -> Callable[[Chance], dict[str, Any]]:
    return lambda c: {**{name: rand(c, *shape) for name, shape in shapes}, **more}


CALLS: dict[str, tuple[Callable[..., Any], Callable[[Chance], dict[str, Any]], Callable[[Any], bool]]] = {
    "gini": (m.gini, tensors(("values", (2, 5))), within(0, 1)),
    "gini_of": (m.gini_of, lambda c: {"tensors": stack(c), "names": ["0.weight"]}, within(0, 1)),
    "fourier_power": (m.fourier_power, tensors(("weights", (2, 5)), basis="real", constant=True), real),
    "inverse_participation_ratio": (m.inverse_participation_ratio, tensors(("power", (2, 5))), within(0, 1)),
    "input_ipr": (m.input_ipr, tensors(("weight", (4, 6)), basis="real", blocks="joint", constant=False), within(0, 1)),
    "output_ipr": (m.output_ipr, tensors(("weight", (2, 5, 4)), basis="complex", constant=True), within(0, 1)),
    "layer_ipr": (m.layer_ipr, tensors(("ratios", (2, 4))), real),
    "hsic": (m.hsic, samples, real),
    "linear_cka": (m.linear_cka, samples, real),
    "minibatch_cka": (m.minibatch_cka, lambda c: {"batches": [(rand(c, 6, 3), rand(c, 6, 2))] * 2}, real),
    "neuron_correlations": (m.neuron_correlations, tensors(("activations", (6, 3)), ("quantities", (6, 2))),
                            within(-1, 1)),
    "activation_weights": (m.activation_weights, tensors(("activations", (6, 3))), real),
    "weighted_correlation": (m.weighted_correlation, tensors(("r", (3, 2)), ("weights", (3,)), per_neuron=True), real),
    "mean_correlation": (m.mean_correlation, tensors(("r", (3, 2))), real),
    "constant_neurons": (m.constant_neurons, tensors(("r", (3, 2))), within(0, 3)),
    "leading_quantity": (m.leading_quantity, tensors(("r", (3, 2))), within(-1, 9)),
    "led_shares": (m.led_shares, tensors(("r", (3, 2)), ("weights", (3,))), real),
    "logit_scale": (m.logit_scale, tensors(("logits", (2, 5, 3))), real),
    "logit_margin": (m.logit_margin, lambda c: {"logits": rand(c, 5, 3), "labels": whole(c, 3, 5)}, real),
    "mutual_information": (m.mutual_information, tensors(("x", (2, 9)), ("y", (2, 9)), neighbours=3), real),
    "with_classes": (m.mutual_information_with_classes,
                     lambda c: {"x": rand(c, 9), "labels": whole(c, 2, 9), "neighbours": 2}, real),
    "linear_information": (m.linear_information, tensors(("r", (4,))), real),
    "layer_norms": (m.layer_norms, lambda c: {"params": stack(c)}, named),
    "weight_norm": (m.weight_norm, lambda c: {"params": stack(c)}, within(0, math.inf)),
    "even_odd_parts": (m.even_odd_parts, tensors(("plus", (5, 3)), ("minus", (5, 3))), real),
    "sign_losses": (m.sign_losses, lambda c: {"plus": rand(c, 5, 3), "minus": rand(c, 5, 3),
                                              "labels": whole(c, 3, 5)}, real),
    "loss_by_sign": (m.loss_by_sign, tensors(("losses", (2, 5)), ("signs", (5,))), named),
    "effective_rank": (m.effective_rank, tensors(("matrix", (2, 4, 3))), within(1, 4)),
    "entropy_count": (m.entropy_count, tensors(("shares", (2, 4))), within(1, 4)),
    "activation_rank": (m.activation_rank, tensors(("activations", (6, 3))), within(1, 6)),
    "feature_dimensionality": (m.feature_dimensionality, tensors(("directions", (4, 3))), within(0, 1)),
    "interference": (m.interference, tensors(("directions", (4, 3))), within(0, 1)),
    "fourier_directions": (m.fourier_directions, tensors(("weight", (5, 3))), real),
    "frequencies_per_neuron": (m.frequencies_per_neuron, tensors(("weight", (5, 3))), within(1, 9)),
    "live_neurons": (m.live_neurons, tensors(("first", (4, 6)), ("last", (3, 4)), tolerance=0.1), real),
    "key_frequencies": (m.key_frequencies, tensors(("logits", (5, 5, 5)), share=0.9), real),
    "key_waves": (m.key_waves, lambda c: {"logits": rand(c, 5, 5, 5), "keys": whole(c, 2, 2).bool()}, real),
    "cosine_logits": (m.cosine_logits, lambda c: {"logits": rand(c, 5, 5, 5), "keys": whole(c, 2, 2).bool()}, real),
    "progress_losses": (m.progress_losses, lambda c: {"logits": rand(c, 5, 5, 5), "train": whole(c, 2, 5, 5).bool(),
                                                      "keys": whole(c, 2, 2).bool()}, real),
    "inner_product": (m.inner_product, steps, real),
    "cosine": (m.cosine, steps, within(-1, 1)),
    "step_between": (m.step_between, lambda c: {"before": stack(c), "after": stack(c)}, named),
    "step_length": (m.step_length, lambda c: {"step": stack(c), "metric": None}, within(0, math.inf)),
    "origin_similarity": (m.origin_similarity, lambda c: {"step": stack(c), "params": stack(c)}, within(-1, 1)),
    "lengths_and_angles": (m.lengths_and_angles, tensors(("products", (2, 5))), real),
    "stiff_parameters": (m.stiff_parameters, lambda c: {"final": stack(c), "threshold": 0.1}, named),
    "stiffest_parameters": (m.stiffest_parameters, lambda c: {"final": stack(c), "counts": whole(c, 9, 2)}, named),
    "restrict": (m.restrict, lambda c: {"direction": stack(c), "mask": {k: v > 0 for k, v in stack(c).items()}}, named),
    "fisher_spectrum": (m.fisher_spectrum, lambda c: {"diagonal": stack(c)}, real),
    "grokking_times": (m.grokking_times, lambda c: {"train_accuracy": rand(c, 6).numpy(), "test_accuracy":
                       rand(c, 6).numpy(), "threshold": 0.9, "test_epochs": EPOCHS}, real),
    "settled": (m.settled, lambda c: {"accuracy": rand(c, 6).numpy(), "epochs": EPOCHS}, real),
    "plateau": (m.plateau, lambda c: {"train_accuracy": rand(c, 6).numpy(), "test_accuracy": rand(c, 6).numpy()}, real),
    "largest_bump": (m.largest_bump, lambda c: {"epochs": EPOCHS, "lengths": rand(c, 6).numpy()}, real),
    "zero_crossings": (m.zero_crossings, lambda c: {"epochs": EPOCHS, "values": rand(c, 6).numpy() - 0.5}, real),
    "mean_interval": (m.mean_interval, lambda c: {"values": rand(c, 6).numpy(), "confidence": 0.9}, real),
    "linear_fit": (m.linear_fit, lambda c: {"x": EPOCHS, "y": rand(c, 6).numpy(), "confidence": 0.9}, real),
    "grokking_onset": (m.grokking_onset, lambda c: {"w0": EPOCHS, "groks": [False, True] * 3}, real),
    "proportion": (m.proportion, lambda c: {"successes": 2, "trials": 5, "confidence": 0.9}, real),
    "regression_slope": (m.regression_slope, lambda c: {"y": [1.0, 2, 4], "x": [1.0, 3, 2],
                         "controls": [[1.0, 5, 3]]}, real),
    "compressibility": (p.compressibility, curve, within(1, math.inf)),
    "compressibility_bounds": (p.compressibility_bounds, curve, real),
    "compressibility_error": (p.compressibility_error, curve, within(0, math.inf)),
    "size_at_accuracy": (p.size_at_accuracy, lambda c: {**curve(c), "accuracy": 0.5}, within(0, 1)),
    "size_at_drop": (p.size_at_drop, lambda c: {**curve(c), "drop": 0.1}, within(0, 1)),
    "pruning_fractions": (p.pruning_fractions, lambda c: {"steps": c.randrange(1, 50)}, within(0, 1)),
    "ranks_of": (p.ranks_of, tensors(("scores", (2, 4))), real),
    "masked": (p.masked, lambda c: {"params": stack(c), "masks": {k: v > 0 for k, v in stack(c).items()}}, named),
    "pruning_order": (p.pruning_order, lambda c: {"params": stack(c), "scheme": "layerwise", "names": None,
                      "fisher": stack(c), "gradients": stack(c), "generators": None}, real),
    "pruning_masks": (p.pruning_masks, of_module, named),
    "prune_module": (p.prune_module, of_module, real),
    "apply_masks": (p.apply_masks, lambda c: {"model": network(), "masks": {"0.weight": whole(c, 2, 4, 3)}}, real),
    "measure_pruning": (p.measure_pruning, lambda c: {"model": network(), "evaluate": lambda _: 0.5,
                        "scheme": "global", "fractions": [0.0, 0.5, 1.0]}, real),
    "fisher_diag": (fisher_diag, lambda c: {**of_fisher(c), "targets": None, "kind": "exact", "samples": 1}, real),
    "fisher_empirical": (fisher_diag, lambda c: {**of_fisher(c), "targets": whole(c, 3, 5), "kind": "empirical",
                         "likelihood": "categorical"}, real),
    "fisher_inner": (fisher_inner, lambda c: directed(c, "u", "v"), real),
    "fisher_gram": (fisher_gram, lambda c: {**of_fisher(c), "directions": [own(c), own(c)]}, real),
    "fisher_vector_product": (fisher_vector_product, lambda c: directed(c, "v"), named),
    "schedule_epochs": (schedule_epochs, lambda c: {"spec": "every:2,log:3", "epochs": 9}, real),
    "canonical_schedule": (canonical_schedule, lambda c: {"spec": "at:2+9,last", "epochs": 9}, real),
    "RunConfig": (RunConfig, run, reads_back),
    "ModularAddition": (lambda **given: RunConfig(task=ModularAddition(**given)), lambda c: {
        "P": 5, "hidden": [4, 3], "train_fraction": 0.5, "label_noise": 0.1}, reads_back),
    "Ising": (lambda **given: RunConfig(task=Ising(**given)), lambda c: {
        "L": 4, "channels": [2], "kernel": 3, "hidden": [3], "dynamics": "glauber", "sweeps": 2, "temperatures": 6,
        "snapshots": 9, "data_seed": 1, "train_size": 4, "test_size": 4, "label_noise": 0.0,
        "stratified": True}, reads_back),
    "Modular": (lambda **given: RunConfig(task=Modular(**given)), lambda c: {
        "P": 5, "operation": "a-b", "network": "mlp", "hidden": [4], "activation": "relu", "bias": True,
        "loss": "cross-entropy", "train_fraction": 0.5, "label_noise": 0.0}, reads_back),
    "SparseParity": (lambda **given: RunConfig(task=SparseParity(**given)), lambda c: {
        "n": 5, "k": 2, "samples": 20, "sample_seed": 1}, reads_back),
    "IsingSampler": (sampled, ising, real),
    "ising_dataset": (ising_dataset, lambda c: {"L": 4, "temperatures": 3, "snapshots": 2, "sweeps": 1,
                      "dynamics": "metropolis", "seed": 0, "J": 1.0, "threads": 1}, real),
}  # fmt: skip
RARE = {"IsingSampler", "ising_dataset", "fisher_inner", "fisher_gram", "fisher_vector_product", "fisher_diag",
        "fisher_empirical", "measure_pruning", "mutual_information"}  # fmt: skip
NAMES = [name for name in CALLS for _ in range(1 if name in RARE else 4)]


def call(seed: int, in_place_of: Callable[[Chance, Any], Any]) -> tuple[str, str]:
    """One call: the function's name, and how it ended."""
    chance = random.Random(seed)
    name = chance.choice(NAMES)
    function, make, holds = CALLS[name]
    arguments = make(chance)
    changed = chance.choice([0, 1, 1, 1, 2])
    for key in chance.sample(list(arguments), min(changed, len(arguments))):
        arguments[key] = in_place_of(chance, arguments[key])
    what = f"seed {seed}: {name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"[:1500]
    try:
        found = function(**arguments)
    except Exception as error:
        expected = isinstance(error, GrokfastError | ValueError | TypeError) and len(str(error)) > 10
        if not changed or not expected:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        return name, "our error" if isinstance(error, GrokfastError) else type(error).__name__
    assert holds(found), f"{what} gave {found!r}"
    return name, "right"


class HungError(BaseException):
    """A call took too long."""


def calls(count: int, in_place_of: Callable[[Chance, Any], Any]) -> Counter[str]:
    """How calls end; the seeds are the same on every machine."""
    ends: Counter[str] = Counter()

    def hung(*_: Any) -> None:
        raise HungError(f"seed {seed} did not end")

    before = signal.signal(signal.SIGALRM, hung)
    try:
        for seed in range(count):
            signal.alarm(100)
            ends[call(seed, in_place_of)[1]] += 1
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ends


def test_random_calls_end_rightly_or_in_a_clear_error(in_place_of: Callable[[Chance, Any], Any]) -> None:
    ends = calls(1500, in_place_of)
    assert ends["right"] > 200
    assert ends["our error"] > 300
    assert ends["ValueError"] + ends["TypeError"] < 0.05 * ends.total(), ends


@pytest.mark.slow
def test_a_hundred_thousand_random_calls(in_place_of: Callable[[Chance, Any], Any]) -> None:
    ends = calls(100_000, in_place_of)
    print(dict(ends))


@pytest.mark.parametrize(("name", "count"), [
    *((name, 200) for name in ("gini", "linear_cka", "compressibility", "ranks_of", "SparseParity")),
    *(pytest.param(name, 10_000, marks=pytest.mark.slow) for name in CALLS),
])  # fmt: skip
def test_no_call_keeps_memory(resident: Callable[[], int], name: str, count: int) -> None:
    """Every function is called rightly again and again."""
    function, make, _ = CALLS[name]
    for k in range(count + 50):
        if k == 50:
            before = resident()
        arguments = make(random.Random(k % 50))
        with contextlib.suppress(GrokfastError):  # of some numbers nothing can be said
            function(**arguments)
    assert resident() - before < 5 * 2**20
