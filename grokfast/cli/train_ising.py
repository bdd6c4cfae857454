"""`grokfast train ising`: CNNs on Ising snapshots over initialisation scales and seeds."""

from __future__ import annotations

from pathlib import Path

from grokfast.cli.train import train_grid
from grokfast.tasks import Ising


def train_ising(
    runs: Path = Path("runs-ising"),
    w0: tuple[float, ...] = (1.0, 10.0),
    seeds: int = 1,
    first_seed: int = 0,
    L: int = 16,
    channels: tuple[int, ...] = (2, 4),
    kernel: int = 3,
    hidden: tuple[int, ...] = (100,),
    dynamics: str = "metropolis",
    sweeps: int = 40,
    temperatures: int = 50,
    snapshots: int = 1000,
    data_seed: int = 0,
    data_file: str = "",
    train_size: int = 300,
    test_size: int = 1000,
    label_noise: float = 0.0,
    epochs: int = 100_000,
    batch_size: int = 0,
    optimizer: str = "adam",
    learning_rate: float = 1e-4,
    weight_decay: float = 0.1,
    momentum: float = 0.9,
    reshuffle: bool = False,
    train_metrics: str = "running",
    precision: str = "float32",
    checkpoint_schedule: str = "last",
    feature_schedule: str = "log:50",
    compressibility_schedule: str = "last",
    test_schedule: str = "every:1",
    geometry: str = "",
    geometry_schedule: str = "every:1",
    geometry_step: int = 1,
    geometry_stiff: float = 0.0,
    threads: int = 0,
    device: str = "cpu",
    force: bool = False,
) -> None:
    """Train CNNs to tell ordered from disordered Ising snapshots, over initialisation scales and seeds.

    Runs that the folder holds already are not trained again. Long ones are better trained by `grokfast sweep`,
    which can be interrupted. Schedules are 'every:N', 'log:N', 'at:E1+E2', 'last' or 'never'.

    Args:
        runs: Folder of runs.
        w0: Initialisation scales, each > 0.
        seeds: Number of seeds.
        first_seed: The first of them.
        L: Side of the lattice, divisible by 2 for each convolution.
        channels: Output channels of the convolutions.
        kernel: Side of their kernels, odd.
        hidden: Widths of the hidden fully connected layers.
        dynamics: metropolis or glauber.
        sweeps: Sweeps from a random start to each snapshot.
        temperatures: Number of temperatures in [Tc - 1, Tc + 1].
        snapshots: For each temperature.
        data_seed: Seed of the sampler.
        data_file: Take the snapshots from this file: .safetensors, .npz, or the authors' published pickle.
        train_size: Training snapshots, half of each phase.
        test_size: Test snapshots, half of each phase.
        label_noise: Share of training labels replaced by the wrong phase.
        epochs: Epochs.
        batch_size: Snapshots a step; 0 is all of them.
        optimizer: adam (L2 decay), adamw or sgd.
        learning_rate: Step size.
        weight_decay: Decay coefficient.
        momentum: Momentum of sgd.
        reshuffle: Draw the batch order anew each epoch.
        train_metrics: running (over the epoch's batches) or full (a pass after it).
        precision: float32 or float64.
        checkpoint_schedule: Epochs whose parameters are stored (the last always is).
        feature_schedule: Epochs at which correlations are taken (at the last they always are).
        compressibility_schedule: Epochs at which compressibility is measured (at the last it always is).
        test_schedule: Epochs with a test pass (the last always has one); every:10 saves nearly half the time.
        geometry: Metrics of the trajectory's geometry, joined by +, such as logit-16+softmax-all; none by default.
        geometry_schedule: Epochs at which it is measured.
        geometry_step: Epochs between the checkpoints that a step joins.
        geometry_stiff: Final Fisher diagonal from which a parameter is stiff; 0 measures no split.
        threads: Stacks trained at the same time; 0 is one per core.
        device: cpu or cuda.
        force: Train also what the folder holds already.
    """
    task = Ising(
        L=L,
        channels=channels,
        kernel=kernel,
        hidden=hidden,
        dynamics=dynamics,  # type: ignore[arg-type]  # its string value is taken as well
        sweeps=sweeps,
        temperatures=temperatures,
        snapshots=snapshots,
        data_seed=data_seed,
        data_file=data_file,
        train_size=train_size,
        test_size=test_size,
        label_noise=label_noise,
    )
    shared = {
        "epochs": epochs,
        "batch_size": batch_size or train_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "momentum": momentum,
        "reshuffle": reshuffle,
        "train_metrics": train_metrics,
        "precision": precision,
        "checkpoint_schedule": checkpoint_schedule,
        "feature_schedule": feature_schedule,
        "compressibility_schedule": compressibility_schedule,
        "test_schedule": test_schedule,
        "geometry": geometry,
        "geometry_schedule": geometry_schedule,
        "geometry_step": geometry_step,
        "geometry_stiff": geometry_stiff,
    }
    train_grid(task, w0, range(first_seed, first_seed + seeds), shared, runs, "fig02a", force, threads, device)
