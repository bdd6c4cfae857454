"""
Elastic weight consolidation in twenty lines
============================================

A second task is learned without forgetting the first, by one line in the loss (Kirkpatrick et al. 2017):

.. math:: L(\\theta) = L_2(\\theta) + \\frac{\\lambda}{2} \\sum_i F_i (\\theta_i - \\theta^*_i)^2
"""

# %%
# Two tasks: points in the plane by the side of a line through the origin, at two angles, with a mark of the task.
import copy

import torch
from torch import nn

from grokfast import fisher_diag


def points(angle, seed):
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(seed))
    y = (x @ torch.tensor([torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle))]) > 0).long()
    mark = torch.zeros(400, 2)
    mark[:, int(angle > 0.5)] = 1
    return torch.cat([x, mark], 1), y


def train(model, x, y, penalty=lambda model: 0.0):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (nn.functional.cross_entropy(model(x), y) + penalty(model)).backward()
        optimizer.step()


def accuracy(model, x, y):
    return float((model(x).argmax(1) == y).double().mean())


# %%
# Learn the first, and take its Fisher diagonal and its parameters.
torch.manual_seed(0)
first, second = points(0.0, 1), points(1.5, 2)
model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
train(model, *first)
fisher = fisher_diag(model, first[0])  # of several tasks: fisher + fisher
anchor = {name: value.detach().clone() for name, value in model.named_parameters()}
fisher

# %%
# Learn the second from there, with and without the penalty.
for weight in (0.0, 100.0):
    learner = copy.deepcopy(model)
    train(learner, *second, lambda net, weight=weight: weight * fisher.penalty(net, anchor))
    print(f"weight {weight:5g}: first task {accuracy(learner, *first):.3f}, second {accuracy(learner, *second):.3f}")
