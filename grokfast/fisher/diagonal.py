"""The diagonal of the Fisher information matrix of a network."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.fisher.batches import Labels, batches
from grokfast.fisher.options import Call, DiagonalOptions, asked_job
from grokfast.fisher.plan import finish, first_samples, prepare
from grokfast.fisher.refusals import told
from grokfast.fisher.result import FisherDiagonal
from grokfast.fisher.variants import Kind


@takes_options
@told
def fisher_diag(
    model: nn.Module, inputs: object, targets: Labels = None, **options: Unpack[DiagonalOptions]
) -> FisherDiagonal:
    r"""Diagonal of the Fisher information of a network, exact, for every trainable parameter.

    With outputs :math:`f(x)`, the mean over samples of squares (never the square of a mean):

    .. math::

        F_i = \frac1N \sum_n \mathbb{E}_{y \sim q_n}
              \Bigl[\Bigl(\frac{\partial \ln p(y \mid f(x_n))}{\partial \theta_i}\Bigr)^2\Bigr]

    where ``kind`` chooses the labels ``q`` and ``likelihood`` the distribution ``p``:

    ============ ================================================== =============================================
    likelihood   exact                                              one label y (mc, empirical)
    ============ ================================================== =============================================
    categorical  :math:`\sum_c p_c (\partial_i \ln p_c)^2`          :math:`(\partial_i \ln p_y)^2`
    bernoulli    :math:`\sum_c \sigma_c (1-\sigma_c) (\partial_i    :math:`(\sum_c (y_c - \sigma_c)\,
                 f_c)^2`                                            \partial_i f_c)^2`
    gaussian     :math:`\sum_c (\partial_i f_c)^2`                  :math:`(\sum_c (y_c - f_c)\,
                                                                    \partial_i f_c)^2`
    ============ ================================================== =============================================

    ``kind="exact"`` averages over the model's own distribution in closed form, ``"mc"`` over ``samples``
    labels drawn from it, ``"empirical"`` takes the true ``targets``. ``("exact", "categorical")`` is the
    softmax Fisher; ``("exact", "gaussian")`` is what the code published with the paper computes on the
    logits.

    Every parameter's way is chosen by itself: a closed form for networks with one hidden ReLU layer, a fused
    pass for chains of convolutions, rules for layers, and per-sample gradients through ``torch.func`` for
    whatever is left. Memory beyond the result is bounded by a block of samples. Saturated models keep their
    accuracy: no ``1 - p`` is formed by subtraction, and float32 models with large logits are run in float64.

    Args:
        model: Any module on CPU or CUDA, trainable parameters in float32 or float64, that maps samples on the
            leading axis to outputs ``[N, C]``, ``[N, ..., C]`` (categorical: every position has a label of its own,
            a sample's log-likelihood is their sum) or of any shape ``[N, ...]`` (bernoulli, gaussian). Frozen
            parameters are left out. The model itself is never run: a private copy is, which shares the memory of its
            parameters and nothing else, so that nothing on the model, nor the global random state, changes at any
            moment, and other threads may use it meanwhile.
        inputs: A tensor; a tuple of tensors, the model's arguments; a dictionary of tensors, its keyword arguments;
            or an iterable of batches (a DataLoader), each one of these, ``[inputs]`` or ``[inputs, targets]``.
        targets: For the empirical kind: class labels ``[N, ...]`` (categorical), or values shaped like the
            outputs; or the key of the labels in dictionaries, which is then no argument of the model.
        mask: Which positions count: true or 1, ``[N, ...]`` shaped like class labels (or like the outputs of the other
            likelihoods), or the key in dictionaries. The others are left out of a sample's log-likelihood.
        logits: Where the outputs are in what the model returns: a key, an index, or a function of it. Named outputs
            with a ``logits`` among them need none.
        class_axis: The axis of the classes (categorical), 1 for ``[N, C, H, W]``; by default the last.
        ignore_index: The class label that leaves its position out, as in ``torch.nn.functional.cross_entropy``. The
            mean is over all N samples, also those of which every position is left out.
        kind: ``"exact"``, ``"mc"`` or ``"empirical"``.
        likelihood: ``"categorical"``, ``"bernoulli"`` or ``"gaussian"``.
        params: A stack of parameter sets with a leading axis E, used instead of the model's own.
        reduction: ``"mean"`` or ``"sum"`` over samples.
        batch_size: Samples handled at once; by default as many as keep a block within some tens of megabytes.
        samples: Labels drawn per sample, for ``kind="mc"``.
        generator: Where they are drawn from. Without one, a generator freshly seeded by the system is used.
            Members of a stack meet the same draws.
        progress: Whether to show a bar.
        explain: Whether to print how each parameter is done; the result's ``plan`` holds the same.

    Returns:
        A dictionary by parameter name, shaped like the parameters (``[E, ...]`` for a stack), in squared
        nats per squared unit of the parameter, with ``flat()``, ``save()`` and ``load()``.

    Raises:
        InputError: If arguments do not fit, or the answer has no meaning: batch normalisation or dropout in
            training mode, random numbers drawn by the model, coupled samples or a sample axis that cannot be
            found, non-finite activations (the layer is named), a mean over no samples.

    Source:
        arXiv 2502.01739, eq. 14.
    """
    job, leaves = asked_job(model, options)
    call = Call.parse(model, options)
    if job.kind is not Kind.EMPIRICAL and isinstance(targets, Tensor):
        raise InputError(f"targets are for kind='empirical', got kind='{job.kind}'; leave them out")
    first, stream = first_samples(batches(inputs, targets, job.device, options["mask"]))
    if first is None:
        return finish(job, leaves, None, 0, call, None)
    plan = prepare(job, call.params, first)
    if options["explain"]:
        print(plan)
    return plan.run(leaves, stream, call, inputs)
