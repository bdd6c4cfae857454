"""Layer rules: from a layer's input and the gradient at its output to per-sample gradients and their squares.

Each rule says everything twice: ``per_sample`` is the readable definition, ``squares`` the fast path. All
tensors have the samples on the leading axis.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from grokfast.ops import fisher_linear, fisher_patches

_CHUNK = 1 << 22  # elements of per-sample gradients held at once by a rule without a fast path


def sum_positions(g: Tensor, features: int) -> Tensor:
    """Sum ``[n, ..., features...]`` over everything between the samples and the last ``features`` axes."""
    axes = tuple(range(1, g.dim() - features))
    return g.sum(axes) if axes else g


class Rule:
    """One use of a layer's parameters.

    Attributes:
        what: The layer in words, for the plan.
        shapes: The shape of each parameter, by role.
        any_layout: Whether the rule works for any placing of the sample axis, or only for the leading one.
        x_axes: How many of the last axes of the input belong to one position.
        g_axes: The same of the output.
        settings: What else the rule depends on.
    """

    what = ""
    any_layout = True
    x_axes = 1
    g_axes = 1
    settings: tuple[object, ...] = ()

    def __init__(self, **shapes: torch.Size) -> None:
        self.shapes = shapes

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """The gradient of every sample, ``[n, *shape]``."""
        raise NotImplementedError

    def squares(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """The sum over samples of squared gradients, in chunks of bounded memory unless there is a faster way."""
        shape = self.shapes[role]
        step = max(1, _CHUNK // max(1, shape.numel()))
        total = g.new_zeros(shape)
        for start in range(0, g.shape[0], step):
            total += self.per_sample(role, x[start : start + step], g[start : start + step]).square().sum(0)
        return total

    def summed(self, role: str, x: Tensor, g: Tensor) -> tuple[Tensor, float]:
        """The plain sum of the samples' gradients, and the largest sum of their magnitudes, in bounded memory."""
        shape = self.shapes[role]
        step = max(1, _CHUNK // max(1, shape.numel()))
        total, size = g.new_zeros(shape), g.new_zeros(shape)
        for start in range(0, g.shape[0], step):
            each = self.per_sample(role, x[start : start + step], g[start : start + step])
            total += each.sum(0)
            size += each.abs().sum(0)
        return total, float(size.max()) if size.numel() else 0.0

    def pooled(self, role: str, x: Tensor, g: Tensor) -> Tensor | None:
        """What can be added up over columns before :meth:`from_pooled` finishes once; None if nothing can."""
        return None

    def from_pooled(self, role: str, x: Tensor, pooled: Tensor) -> Tensor:
        """Squares from the sum over columns of :meth:`pooled`."""
        raise NotImplementedError


class LinearRule(Rule):
    """``y = x W^T + b`` at any number of positions."""

    what = "linear"

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """Weight: ``sum_t g_to x_ti``; bias: ``sum_t g_to``."""
        g = g.reshape(g.shape[0], -1, g.shape[-1])
        if role == "bias":
            return g.sum(1)
        return torch.einsum("nto,nti->noi", g, x.reshape(*g.shape[:2], x.shape[-1]))

    def squares(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """The compiled primitive for the weight."""
        if role == "bias":
            return sum_positions(g, 1).square().sum(0)
        n, features = g.shape[0], g.shape[-1]
        positions = g.shape[1:-1].numel()
        out: Tensor = fisher_linear(g.reshape(1, n, positions, features), x.reshape(1, n, positions, x.shape[-1]))
        return out[0]

    def pooled(self, role: str, x: Tensor, g: Tensor) -> Tensor | None:
        """With one position the squares factor: ``sum_k g_ko^2`` first, one product with ``x_i^2`` at the end."""
        return g.reshape(g.shape[0], -1).square() if g.shape[1:-1].numel() == 1 else None

    def from_pooled(self, role: str, x: Tensor, pooled: Tensor) -> Tensor:
        """``sum_n pooled_no x_ni^2``."""
        if role == "bias":
            return pooled.sum(0)
        out: Tensor = fisher_linear(pooled.sqrt()[None, :, None], x.reshape(1, x.shape[0], 1, -1))
        return out[0]


class MatmulRule(Rule):
    """``y = x W`` with a matrix parameter."""

    what = "matrix product"

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """``sum_t x_ti g_to``."""
        g = g.reshape(g.shape[0], -1, g.shape[-1])
        return torch.einsum("nto,nti->nio", g, x.reshape(*g.shape[:2], x.shape[-1]))

    def squares(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """The compiled primitive with its operands exchanged."""
        return LinearRule(**self.shapes).squares("weight", g, x)


class EmbeddingRule(Rule):
    """A gather of rows."""

    what = "embedding"
    x_axes = 0

    def __init__(self, padding_idx: int | None, **shapes: torch.Size) -> None:
        super().__init__(**shapes)
        self.settings = (padding_idx,)
        self.padding_idx = padding_idx

    def _kept(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        width = self.shapes["weight"][1]
        x, g = x.reshape(x.shape[0], x.shape[1:].numel()), g.reshape(g.shape[0], x.shape[1:].numel(), width)
        if self.padding_idx is not None:
            g = g.masked_fill((x == self.padding_idx).unsqueeze(-1), 0)
        return x, g

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """Row v: the sum over the positions that hold v."""
        x, g = self._kept(x, g)
        out = g.new_zeros(g.shape[0], *self.shapes["weight"])
        return out.scatter_add_(1, x.unsqueeze(-1).expand_as(g), g)

    def squares(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """Positions of a sample that hold the same row are added up before squaring."""
        x, g = self._kept(x, g)
        n, positions = x.shape
        rows, width = self.shapes["weight"]
        out = g.new_zeros(rows, width)
        if positions > 1:
            keys = (torch.arange(n, device=x.device).unsqueeze(1) * rows + x).flatten()
            found, inverse = torch.unique(keys, return_inverse=True)
            g = g.new_zeros(len(found), width).index_add_(0, inverse, g.reshape(-1, width))
            x = found % rows
        return out.index_add_(0, x.flatten(), g.reshape(-1, width).square())


class AffineRule(Rule):
    """``y = w * xhat + b`` after a normalisation; ``xhat`` is what came in, normalised.

    Args:
        what: Which normalisation.
        channels_first: Whether the parameters belong to axis 1 (batch, group, instance norm) or the last
            axes.
        shapes: Parameter shapes.
    """

    def __init__(self, what: str, channels_first: bool, **shapes: torch.Size) -> None:
        super().__init__(**shapes)
        self.what = what
        self.channels_first = channels_first
        self.any_layout = not channels_first
        self.x_axes = self.g_axes = len(next(iter(shapes.values())))
        self.settings = (what, channels_first)

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """Weight: ``sum g * xhat`` over positions; bias: ``sum g``."""
        product = g * x if role == "weight" else g
        if self.channels_first:
            return product.flatten(2).sum(2) if product.dim() > 2 else product
        return sum_positions(product, len(self.shapes[role]))


class ElementwiseRule(Rule):
    """``y = x + p`` or ``y = x * p`` with a bare parameter, broadcast over the samples."""

    any_layout = False

    def __init__(self, product: bool, **shapes: torch.Size) -> None:
        super().__init__(**shapes)
        self.product = product
        self.settings = (product,)
        self.what = "product with a parameter" if product else "sum with a parameter"

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """``g`` or ``g * x``, summed over what the parameter was broadcast along."""
        shape = self.shapes[role]
        own = shape[1:] if len(shape) == g.dim() else shape
        padded = (g.shape[0],) + (1,) * (g.dim() - 1 - len(own)) + tuple(own)
        value = g * x.expand_as(g) if self.product else g
        return value.sum_to_size(padded).reshape(g.shape[0], *shape)


class ConvRule(Rule):
    """A convolution of one to three dimensions; the transposed one exchanges input and output.

    Args:
        stride: Per spatial axis.
        padding: (before, after) per spatial axis, zeros; other padding modes pad before they convolve.
        dilation: Per spatial axis.
        groups: Groups of channels.
        transposed: Whether it is the transposed convolution.
        shapes: Parameter shapes.
    """

    any_layout = False

    def __init__(
        self,
        stride: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
        dilation: tuple[int, ...],
        groups: int,
        transposed: bool,
        **shapes: torch.Size,
    ) -> None:
        super().__init__(**shapes)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.transposed = groups, transposed
        self.settings = (stride, padding, dilation, groups, transposed)
        self.what = f"{'transposed ' if transposed else ''}convolution"

    def _operands(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Rows ``[n, R, *positions]`` and padded image ``[n, C, *extent]`` with ``dW_rc = rows * image``."""
        rows, image = (x, g) if self.transposed else (g, x)
        kernel = self.shapes["weight"][2:]
        sides: list[int] = []
        for axis in reversed(range(len(kernel))):
            before, after = self.padding[axis]
            reach = (rows.shape[2 + axis] - 1) * self.stride[axis] + (kernel[axis] - 1) * self.dilation[axis] + 1
            # What the last position does not reach (a stride that does not divide) is cut off.
            after = min(after, reach - before - image.shape[2 + axis])
            if self.transposed:
                after = reach - before - image.shape[2 + axis]
            sides += [before, after]
        return rows, functional.pad(image, sides) if any(sides) else image

    def per_sample(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """Every sample's patches times its output gradients, summed over positions."""
        if role == "bias":
            return g.flatten(2).sum(2)
        rows, image = self._operands(x, g)
        kernel = self.shapes["weight"][2:]
        for axis, size in enumerate(kernel):
            span = (size - 1) * self.dilation[axis] + 1
            image = image.unfold(2 + axis, span, self.stride[axis])[..., :: self.dilation[axis]]
        n = image.shape[0]
        patches = image.reshape(n, self.groups, -1, rows.shape[2:].numel(), kernel.numel())
        grouped = rows.reshape(n, self.groups, -1, rows.shape[2:].numel())
        weight = torch.einsum("ngrt,ngctk->ngrck", grouped, patches)
        return weight.reshape(n, *self.shapes["weight"])

    def squares(self, role: str, x: Tensor, g: Tensor) -> Tensor:
        """The compiled primitive with the patches folded in."""
        if role == "bias":
            return g.flatten(2).sum(2).square().sum(0)
        rows, image = self._operands(x, g)
        n, extent, kernel = image.shape[0], image.shape[2:], self.shapes["weight"][2:]
        base = _places(rows.shape[2:], self.stride, extent, image.device)
        taps = _places(kernel, self.dilation, extent, image.device)
        channels = torch.arange(image.shape[1] // self.groups, device=image.device) * extent.numel()
        out: Tensor = fisher_patches(
            rows.reshape(1, n, self.groups, rows.shape[1] // self.groups, rows.shape[2:].numel()),
            image.reshape(1, n, self.groups, -1),
            base,
            (channels.unsqueeze(1) + taps).flatten(),
        )
        return out.reshape(self.shapes["weight"])


def _places(counts: torch.Size, steps: tuple[int, ...], extent: torch.Size, device: torch.device) -> Tensor:
    """Flat positions in an image of this extent, of a grid with so many points and steps per axis."""
    places = torch.zeros(1, dtype=torch.int64, device=device)
    for axis, (count, step) in enumerate(zip(counts, steps, strict=True)):
        along = torch.arange(count, device=device) * (step * extent[axis + 1 :].numel())
        places = (places.unsqueeze(1) + along).flatten()
    return places
