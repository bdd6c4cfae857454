"""
The local learning coefficient
==============================

How many effective parameters does the loss have around a trained network? Half of all where it is a quadratic, fewer
where it is flatter.

.. math:: \\hat\\lambda = n\\beta \\left( \\langle L_n(w) \\rangle - L_n(w^*) \\right), \\qquad n\\beta = n / \\ln n
"""

# %%
# A loss whose coefficient is known: regression on ten features, of which a factor of four uses too few or all.
import torch
from torch import nn

from grokfast import llc

torch.manual_seed(0)
x = torch.randn(200, 10)
y = x @ torch.randn(10, 1) + 0.1 * torch.randn(200, 1)


def trained(model):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = nn.functional.mse_loss(model(x), y)
        value.backward()
        return value

    optimizer.step(loss)
    return model


# %%
# A linear map with 10 parameters: the loss is a quadratic, and the coefficient at most 5; less where the prior of
# locality holds the samples as near as the data do.
linear = trained(nn.Linear(10, 1, bias=False))
for rho in (0.1, 0.3):
    print(rho, llc(linear, nn.functional.mse_loss, x, y, rho=rho))

# %%
# The same map as a product of two has 44 parameters and no more to say. Estimates are comparable at equal rho only.
product = trained(nn.Sequential(nn.Linear(10, 4, bias=False), nn.Linear(4, 1, bias=False)))
found = llc(product, nn.functional.mse_loss, x, y, rho=0.3)
print(found)
print("R-hat", found.r_hat, "effective samples", found.effective_samples, "status", found.status)
