"""
A phase diagram of grokking
===========================

Whether a network groks depends on the scale of its initial weights and on weight decay. Fifteen runs draw a small map.
"""

# %%
# A grid is a list. Runs of equal network, batch and length train together, each with its own scale, decay and seed;
# on two cores these take half a minute.
from itertools import product

import numpy as np
from matplotlib import pyplot as plt

from grokfast import ModularAddition, RunConfig, train_runs

task = ModularAddition(P=59, hidden=(256,), train_fraction=0.8)
scales, decays = (0.3, 1.0, 2.0, 4.0, 8.0), (3e-5, 1e-4, 3e-4)
configs = [RunConfig(task=task, w0=w0, weight_decay=decay, epochs=200) for w0, decay in product(scales, decays)]
table = train_runs(configs, "runs-phases", threads=2)

# %%
# A run groks if it needs longer from t_train to t_test than to t_train. Runs that were still rising at their end
# have times that are lower bounds; the view ``settled_runs`` leaves them out. The rest is SQL.
answer = table.sql(
    "SELECT w0, weight_decay, avg(t_grok / t_train), count(*), min(end_test_accuracy) FROM settled_runs "
    "GROUP BY ALL ORDER BY ALL"
).fetchall()
for w0, decay, ratio, count, worst in answer:
    print(f"w0 {w0:g}, decay {decay:g}: t_grok / t_train = {ratio:.2f} over {count} run, test accuracy {worst:.2f}")

# %%
# Above 1 (white) they grok. A cross: not settled, or not generalised, in these 200 epochs. More seeds give each
# cell an interval, and ``grokfast sweep`` carries a map of hundreds of cells over machines.
from matplotlib.colors import TwoSlopeNorm

grid = np.full((len(decays), len(scales)), np.nan)
for w0, decay, ratio, _, worst in answer:
    if worst > 0.9:
        grid[decays.index(decay), scales.index(w0)] = ratio
picture = plt.pcolormesh(grid, cmap="RdBu_r", norm=TwoSlopeNorm(1, 0, 6), edgecolors="white")
for y, x in np.argwhere(np.isnan(grid)):
    plt.plot(x + 0.5, y + 0.5, "x", color="grey")
plt.xticks(np.arange(len(scales)) + 0.5, [f"{w0:g}" for w0 in scales])
plt.yticks(np.arange(len(decays)) + 0.5, [f"{decay:g}" for decay in decays])
plt.xlabel("initialisation scale w0")
plt.ylabel("weight decay")
plt.colorbar(picture, label="t_grok / t_train")
plt.show()
