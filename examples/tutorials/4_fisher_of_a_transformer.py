"""
Fisher information of a transformer
===================================

The exact diagonal of the Fisher matrix of any module: which parameters do the predictions depend on?

.. math::

    F_i = \\mathbb{E}_x \\mathbb{E}_{c \\sim p(\\cdot|x)}
        \\left[ \\left( \\frac{\\partial \\ln p(c|x)}{\\partial \\theta_i} \\right)^2 \\right]
"""

# %%
# A layer of torch's own, on sequences of ten tokens, with one class a sequence.
import torch
from torch import nn

from grokfast import fisher_diag, fisher_plan

torch.manual_seed(0)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 32)
        self.layer = nn.TransformerEncoderLayer(32, nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, tokens):
        return self.head(self.layer(self.embed(tokens)).mean(1))


model, tokens = Classifier().eval(), torch.randint(0, 30, (200, 10))

# %%
# The plan says how each parameter will be done, and why, before anything is computed.
fisher_plan(model, tokens[:20])

# %%
# Exact: the expectation over all five labels, not a sample of them. Nothing is left behind in the module.
fisher = fisher_diag(model, tokens)
fisher

# %%
# Entries by size, on logarithmic axes. Four orders of magnitude are usual, and embeddings of rare tokens are at the
# end.
fisher.plot()

# %%
# It agrees with what autograd gives sample by sample and label by label, in float64:
from grokfast.fisher import fisher_diag_reference

slow = fisher_diag_reference(model.double(), tokens[:5])
fast = fisher_diag(model.double(), tokens[:5])
print(max(float((fast[name] - slow[name]).abs().max() / slow[name].max()) for name in fast))
