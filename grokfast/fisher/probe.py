"""What a few samples show about a model: where the samples are in every layer, and which rules hold.

Three checks, each against something that would otherwise be silently wrong:

* the outputs of some samples must not change when another sample is left out (coupled samples);
* scaling the cotangent of each sample by its own power of two must scale the same rows of every layer's
gradient,
  exactly, which finds the sample axis and proves it (permuted, merged or transposed samples);
* the per-sample gradients of the rules must add up to autograd's gradient of the untraced model (a use that
a rule
  does not describe).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from grokfast.errors import InputError
from grokfast.fisher.batches import Block
from grokfast.fisher.engine import Findings, Traced, pull_back, trace
from grokfast.fisher.fallback import run_model, vmap_failure
from grokfast.fisher.guards import RandomWatch
from grokfast.fisher.job import Job
from grokfast.fisher.layout import CANDIDATES, LEADING, Layout
from grokfast.fisher.variants import Way

_MOST_SAMPLES = 8
_ELEMENTS = 1 << 25


def probe(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], block: Block
) -> tuple[Findings, dict[str, tuple[Way, str]]]:
    """Look at a few samples; returns what was found and the way of each parameter, with the reason."""
    width = sum(leaf.numel() for leaf in leaves.values())
    m = min(block.n, max(2, min(_MOST_SAMPLES, _ELEMENTS // max(1, width))))
    args = block.slice(0, m).args
    watch = RandomWatch(job.device)
    traced = trace(job, state, leaves, args)
    watch.check()
    _check_uncoupled(job, state, traced.outputs, args)
    generator = torch.Generator().manual_seed(0)
    side = torch.randn(traced.outputs.shape, generator=generator, dtype=torch.float64)
    side = side.to(traced.outputs.device, traced.outputs.dtype)
    grads = pull_back(traced, traced.uses, side)
    findings = Findings(probed=m)
    reasons: dict[str, str] = dict.fromkeys(sorted(traced.stray), "used outside the layers that have rules")
    _find_layouts(traced, grads, side, m, findings, reasons)
    _verify(job, state, leaves, args, traced, grads, side, m, findings, reasons)
    if reasons:
        some = {name: leaf for name, leaf in leaves.items() if name in reasons}
        failure = vmap_failure(job.model, state, some, args, side)
        findings.loop = bool(failure)
        if failure:
            reasons = {name: f"{reason}; torch.func cannot follow ({failure})" for name, reason in reasons.items()}
    size = traced.outputs.element_size() / m
    findings.sample_bytes = size * sum(use.x.numel() + 2 * torch.Size(use.shape).numel() for use in traced.uses)
    findings.sample_bytes += size * 4 * traced.outputs.numel()
    way = Way.LOOP if findings.loop else Way.VMAP
    found: dict[str, tuple[Way, str]] = {}
    for name in leaves:
        uses = [use for use in traced.uses if name in use.names.values()]
        if name in reasons:
            found[name] = way, reasons[name]
        elif not uses:
            found[name] = Way.RULE, "not used: its gradient is zero"
        else:
            what = " and ".join(dict.fromkeys(use.rule.what for use in uses))
            found[name] = (
                Way.RULE,
                what + (f", {len(uses)} uses added up per sample" if len(uses) > 1 else ""),
            )
    return findings, found


def _check_uncoupled(job: Job, state: Mapping[str, Tensor] | None, outputs: Tensor, args: tuple[Tensor, ...]) -> None:
    if outputs.shape[0] < 2:
        return
    with torch.no_grad():
        rest = run_model(job.model, state, tuple(a[1:] for a in args))
    expected = outputs.detach()[1:]
    bound = 1e-3 if outputs.dtype == torch.float32 else 1e-8
    scale = float(expected.abs().max()) if expected.numel() else 0.0
    if rest.shape != expected.shape or float((rest - expected).abs().max() if rest.numel() else 0.0) > bound * scale:
        raise InputError(
            "sample axis not found: the outputs for some samples change when another sample is "
            "left out, so the "
            "samples are coupled or are not on the leading axis of inputs and outputs; per-sample "
            "gradients then have "
            "no meaning"
        )


def _find_layouts(
    traced: Traced,
    grads: list[Tensor | None],
    side: Tensor,
    m: int,
    findings: Findings,
    reasons: dict[str, str],
) -> None:
    powers = torch.tensor([(-2.0) ** k for k in range(m)], dtype=side.dtype, device=side.device)
    scaled = pull_back(traced, traced.uses, side * powers.view(-1, *[1] * (side.dim() - 1)))
    for use, g, h in zip(traced.uses, grads, scaled, strict=True):
        layout = _layout(use.shape, tuple(use.x.shape), use.rule.any_layout, g, h, powers)
        findings.signatures.append(use.signature)
        findings.layouts.append(layout)
        for name in use.names.values():
            if not use.intact:
                reasons.setdefault(name, "the layer's input is overwritten later on")
            elif layout is None:
                reasons.setdefault(name, f"the sample axis of {use.rule.what} {list(use.shape)} could not be proven")


def _layout(
    shape: tuple[int, ...], x_shape: tuple[int, ...], any_layout: bool, g: Tensor | None, h: Tensor | None,
    powers: Tensor,
) -> Layout | None:  # fmt: skip
    m = len(powers)
    if g is None or h is None:
        return LEADING if LEADING.fits(shape, m) and LEADING.fits(x_shape, m) else None
    if not bool(g.any()):
        return None
    for layout in CANDIDATES if any_layout else CANDIDATES[:1]:
        if not layout.fits(shape, m) or not layout.fits(x_shape, m):
            continue
        mine, theirs = layout.front(g, m), layout.front(h, m)
        expected = mine * powers.view(-1, *[1] * (mine.dim() - 1))
        bound = 1e-4 if g.dtype == torch.float32 else 1e-10
        if float((theirs - expected).abs().max()) <= bound * float(mine.abs().max()):
            return layout
    return None


def _verify(
    job: Job, state: Mapping[str, Tensor] | None, leaves: Mapping[str, Tensor], args: tuple[Tensor, ...],
    traced: Traced, grads: list[Tensor | None], side: Tensor, m: int, findings: Findings, reasons: dict[str,
        str],
) -> None:  # fmt: skip
    names = [name for name in leaves if name not in reasons]
    sums: dict[str, Tensor] = {}
    sizes: dict[str, float] = {}
    for use, layout, g in zip(traced.uses, findings.layouts, grads, strict=True):
        for role, name in use.names.items():
            if name in reasons or g is None or layout is None:
                continue
            each = use.rule.per_sample(role, layout.front(use.x, m), layout.front(g, m))
            sums[name] = sums[name] + each.sum(0) if name in sums else each.sum(0)
            sizes[name] = sizes.get(name, 0.0) + float(each.abs().sum(0).max() if each.numel() else 0.0)
    outputs = run_model(job.model, state, args)
    if not names or not outputs.requires_grad:
        return
    whole = torch.autograd.grad(outputs, [leaves[name] for name in names], side, allow_unused=True)
    for name, grad in zip(names, whole, strict=True):
        expected = torch.zeros_like(leaves[name]) if grad is None else grad
        error = float((sums.get(name, 0.0) - expected).abs().max()) if expected.numel() else 0.0
        bound = 1e-3 if expected.dtype == torch.float32 else 1e-8
        if not error <= bound * max(sizes.get(name, 0.0), 1e-30):
            reasons[name] = "the layer rule does not add up to autograd's gradient"
            findings.distrusted.add(name)
