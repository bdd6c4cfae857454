"""
A measure of your own
=====================

A measure is a function of a stack of networks. It is taken while they train, and is a column like all others.
"""

# %%
# The effective rank of the first matrix: exp of the entropy of its singular values. A snapshot's parameters have a
# leading axis of members, and a measure gives one number a member.
import torch

from grokfast import Column, ModularAddition, Observer, RunConfig, measure, train_runs


@measure(columns=[Column("first_rank", "effective rank of the first matrix", label="rank", headline=True)])
def first_rank(snapshot):
    values = torch.linalg.svdvals(next(iter(snapshot.params.values())).double())
    shares = values / values.sum(-1, keepdim=True)
    return {"first_rank": torch.special.entr(shares).sum(-1).exp()}


# %%
# Looked at in forty epochs, evenly on a logarithmic axis. What is looked at is no part of a run's name: asked for
# later, the column joins the stored runs.
task = ModularAddition(P=31, hidden=(128,), train_fraction=0.8)
configs = [RunConfig(task=task, w0=w0, epochs=300, weight_decay=1e-4) for w0 in (0.3, 6.0)]
table = train_runs(configs, "runs-own-measure", observers=[Observer(first_rank, "log:40")])
table

# %%
# :meth:`~grokfast.runs.Run.seen` gives a column at the epochs where it was taken.
from matplotlib import pyplot as plt

for run in table:
    epochs, ranks = run.seen("first_rank")
    plt.semilogx(epochs, ranks, label=f"w0 = {run.config.w0:g}, {run.regime}")
    plt.axvline(run.summary["t_test"], color="grey", linewidth=0.6, linestyle=":")
plt.xlabel("epoch")
plt.ylabel("effective rank")
plt.legend()
plt.show()
