"""Data sets: the paper's recipe, files, splits, stripes, the import of a pickle, pictures."""

import io
import math
import os
import pickle

import numpy as np
import pytest
import torch

from grokfast.errors import InputError
from grokfast.ising import (
    IsingDataset,
    IsingSampler,
    Phase,
    find_stripes,
    import_published_pickle,
    ising_dataset,
    load_dataset,
    plot_snapshots,
    save_dataset,
    stripe_report,
    train_test_split,
)
from grokfast.ising.dataset import snapshot_quantities
from grokfast.ising.exact import critical_temperature

TC = critical_temperature()


@pytest.fixture(scope="module")
def dataset():
    return ising_dataset(temperatures=10, snapshots=120, seed=1)


def test_recipe_of_the_paper(dataset):
    assert len(dataset) == 1200
    assert dataset.spins.shape == (1200, 16, 16)
    np.testing.assert_allclose(np.unique(dataset.temperatures), np.linspace(TC - 1, TC + 1, 10))
    assert (dataset.labels == (dataset.temperatures > TC)).all()
    assert dataset.labels.sum() == 600
    assert dataset.parameters["sweeps"] == 40
    assert dataset.parameters["dynamics"] == "metropolis"
    sampler = IsingSampler(16, np.linspace(TC - 1, TC + 1, 10), 120, seed=1, seeding="seed")
    sampler.sweep(40)
    np.testing.assert_array_equal(dataset.spins.reshape(10, 120, 16, 16), sampler.spins)
    np.testing.assert_array_equal(dataset.energies.reshape(10, 120), sampler.energy())
    spins = dataset.spins.double()
    bonds = spins * spins.roll(1, 1) + spins * spins.roll(1, 2)
    torch.testing.assert_close(dataset.energies, -bonds.mean((1, 2)))
    torch.testing.assert_close(dataset.magnetizations, spins.mean((1, 2)))


def test_energy_separates_the_phases_better_than_magnetization():
    """The reason for few sweeps: domain walls hide the order from |M|, not from E."""
    data = ising_dataset(temperatures=50, snapshots=200, seed=2)

    def best_threshold(x):
        order = torch.argsort(x)
        ordered = (data.labels[order] == Phase.ORDERED).double()
        left = torch.cat([torch.zeros(1), ordered.cumsum(0)])
        right = (1 - ordered).sum() - torch.cat([torch.zeros(1), (1 - ordered).cumsum(0)])
        return float(((left + right) / len(data)).max())

    by_energy = best_threshold(data.energies)
    by_magnetization = best_threshold(-data.magnetizations.abs())
    assert 0.94 < by_energy < 0.965
    assert 0.90 < by_magnetization < 0.94
    report = stripe_report(data)
    assert report.cold == 5000
    assert 0.03 < report.small_magnetization / report.cold < 0.09


def test_torch_takes_it(dataset):
    image, label = dataset[3]
    assert image.shape == (1, 16, 16)
    assert image.dtype == torch.float32
    assert label.dtype == torch.int64
    loader = torch.utils.data.DataLoader(dataset, batch_size=100)
    batches = list(loader)
    assert len(batches) == 12
    torch.testing.assert_close(torch.cat([batch for batch, _ in batches]), dataset.inputs())
    assert dataset.inputs(torch.float64).dtype == torch.float64


def test_same_seed_same_data_for_any_threads(dataset):
    again = ising_dataset(temperatures=10, snapshots=120, seed=1, threads=3)
    assert torch.equal(again.spins, dataset.spins)
    other = ising_dataset(temperatures=10, snapshots=120, seed=2)
    assert not torch.equal(other.spins, dataset.spins)


def test_other_choices():
    data = ising_dataset((4, 6), [1.0, 5.0], 7, 3, "glauber", seed=0, J=2.0)
    assert data.spins.shape == (14, 4, 6)
    assert data.labels.tolist() == 7 * [0] + 7 * [1]  # Tc = 4.54
    assert data.parameters["J"] == 2.0
    spins = data.spins.double()
    bonds = spins * (spins.roll(1, 1) + spins.roll(1, 2))
    torch.testing.assert_close(data.energies.double(), -2.0 * bonds.sum((1, 2)) / 24, rtol=1e-6, atol=0)
    torch.testing.assert_close(data.magnetizations.double(), spins.sum((1, 2)) / 24, rtol=1e-6, atol=1e-9)
    assert data.energies.min() < -2.0  # below what J = 1 can have
    for name, found in zip(("energies", "magnetizations"), snapshot_quantities(data.spins.numpy(), 2.0), strict=True):
        np.testing.assert_allclose(found, getattr(data, name).numpy(), rtol=1e-6, atol=1e-9)
    one = ising_dataset(8, 1, 5, 0, seed=0)
    assert len(one) == 5


def test_sites_drawn_at_random_give_other_snapshots_of_fewer_ordered_ones(dataset):
    """Random-site Glauber, the dynamics of the paper's authors, is slower: more cold snapshots keep domain walls."""
    glauber = {"temperatures": 10, "snapshots": 120, "sweeps": 10, "dynamics": "glauber", "seed": 1}
    swept, drawn = (ising_dataset(**glauber, order=order) for order in ("checkerboard", "random"))
    assert drawn.parameters["order"] == "random"
    assert not torch.equal(swept.spins, drawn.spins)
    cold = drawn.labels == 0
    assert drawn.energies[cold].mean() > swept.energies[cold].mean()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_keep_everything(dataset, tmp_path, suffix):
    path = tmp_path / f"data{suffix}"
    save_dataset(dataset, path)
    save_dataset(dataset, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    loaded = load_dataset(str(path))
    for name in ("spins", "labels", "temperatures", "energies", "magnetizations"):
        assert torch.equal(getattr(loaded, name), getattr(dataset, name))
    assert loaded.parameters == dataset.parameters
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], b"nonsense" * 50):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not a data set"):
            load_dataset(path)
    with pytest.raises(FileNotFoundError):
        load_dataset(tmp_path / f"none{suffix}")


def test_files_of_another_kind(dataset, tmp_path):
    for call in (lambda p: save_dataset(dataset, p), load_dataset):
        with pytest.raises(InputError, match=r"\.safetensors or \.npz"):
            call(tmp_path / "data.pkl")
    np.savez(tmp_path / "other.npz", spins=np.ones(3))
    with pytest.raises(InputError, match="not a data set"):
        load_dataset(tmp_path / "other.npz")
    np.savez(tmp_path / "object.npz", spins=np.array([print], dtype=object))
    with pytest.raises(InputError, match="not a data set"):
        load_dataset(tmp_path / "object.npz")
    with pytest.raises(FileNotFoundError):
        save_dataset(dataset, tmp_path / "no folder" / "data.npz")


def test_split_is_balanced_disjoint_and_random(dataset):
    marked = IsingDataset(
        dataset.spins,
        dataset.labels,
        dataset.temperatures,
        torch.arange(1200).double(),  # names each snapshot
        dataset.magnetizations,
        dataset.parameters,
    )
    train, test = train_test_split(marked, 300, 600, seed=5)
    assert (len(train), len(test)) == (300, 600)
    assert int(train.labels.sum()) == 150
    assert int(test.labels.sum()) == 300
    assert len(set(train.energies.tolist()) | set(test.energies.tolist())) == 900
    again, _ = train_test_split(marked, 300, 600, seed=5)
    assert torch.equal(again.energies, train.energies)
    other, _ = train_test_split(marked, 300, 600, seed=6)
    assert not torch.equal(other.energies, train.energies)
    assert 0.2 < train.labels[:150].double().mean() < 0.8
    for sizes in ((301, 10), (10, 3), (1000, 400), (-2, 2)):
        with pytest.raises(InputError):
            train_test_split(marked, *sizes, seed=0)


def make_stripes(kind):
    spins = np.ones((16, 16), np.int8)
    if kind == "horizontal":
        spins[3:9] = -1
    elif kind == "vertical":
        spins[:, 12:] = -1
    elif kind == "diagonal":
        y, x = np.indices(spins.shape)
        spins[(x + y) % 16 < 8] = -1
    elif kind == "droplet":
        spins[2:10, 2:10] = -1
    return spins


def test_stripes_are_told_apart():
    kinds = ["horizontal", "vertical", "diagonal", "droplet", "ordered"]
    spins = np.stack([make_stripes(kind) for kind in kinds])
    horizontal, vertical = find_stripes(spins)
    assert horizontal.tolist() == [True, False, False, False, False]
    assert vertical.tolist() == [False, True, False, False, False]
    data = IsingDataset(
        torch.from_numpy(np.concatenate([spins, spins])),
        torch.tensor(5 * [0] + 5 * [1]),
        torch.tensor(5 * [1.5] + 5 * [3.0], dtype=torch.float64),
        torch.zeros(10, dtype=torch.float64),
        torch.from_numpy(np.concatenate([spins, spins]).mean((1, 2))),
        {},
    )
    report = stripe_report(data)
    assert (report.cold, report.horizontal, report.vertical, report.striped) == (5, 1, 1, 2)
    assert (report.small_magnetization, report.irregular) == (2, 1)
    assert report.by_temperature == ((1.5, 0.4),)
    assert "2 striped (40.0 %" in str(report)
    assert find_stripes(spins[0])[0].shape == ()


def test_bad_input(dataset):
    for call in (
        lambda: ising_dataset(1, seed=0),
        lambda: ising_dataset(temperatures=0, seed=0),
        lambda: ising_dataset(temperatures=[-1.0], seed=0),
        lambda: ising_dataset(snapshots=0, seed=0),
        lambda: ising_dataset(sweeps=-1, seed=0),
        lambda: ising_dataset(dynamics="wolff", seed=0),
        lambda: ising_dataset(order="rows", seed=0),
        lambda: ising_dataset(J=-1.0, seed=0),
        lambda: ising_dataset(seed=None),
        lambda: find_stripes(np.ones(4)),
        lambda: find_stripes(np.ones((4, 4)), 1.5),
        lambda: plot_snapshots(dataset, 0),
        lambda: plot_snapshots(dataset, snapshots=0),
        lambda: IsingDataset(dataset.spins.float(), *[None] * 4, {}),
        lambda: IsingDataset(dataset.spins, dataset.labels[1:], *[None] * 3, {}),
        lambda: IsingDataset(
            0 * dataset.spins,
            dataset.labels,
            dataset.temperatures,
            dataset.energies,
            dataset.magnetizations,
            {},
        ),
        lambda: IsingDataset(
            dataset.spins,
            dataset.labels + 1,
            dataset.temperatures,
            dataset.energies,
            dataset.magnetizations,
            {},
        ),
    ):
        with pytest.raises(InputError):
            call()


def test_picture_shows_rows_and_frames(dataset):
    figure = plot_snapshots(dataset, temperatures=4, snapshots=6)
    assert len(figure.axes) == 24
    images = [axis.images[0].get_array() for axis in figure.axes]
    np.testing.assert_array_equal(images[0], dataset.spins[0])
    np.testing.assert_array_equal(images[23], dataset.spins[1085])
    # frames: exactly the cold snapshots with stripes
    first = dataset.temperatures.unique()[[0, 3, 6, 9]]
    expected = []
    for T in first:
        for spins in dataset.spins[dataset.temperatures == T][:6]:
            expected.append(bool(T < TC) and any(bool(kind) for kind in find_stripes(spins)))
    assert [len(axis.patches) == 1 for axis in figure.axes] == expected
    assert not any(axis.patches for axis in plot_snapshots(dataset, mark_stripes=False).axes)
    buffer = io.BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue()[:4] == b"\x89PNG"


# The published pickle.


def triples(count=20, numpy_scalars=False, flip=False):
    rng = np.random.default_rng(0)
    items = []
    for T in np.linspace(1.3, 3.2, count):
        spins = rng.choice([-1, 1], (16, 16))
        phase, temperature = int((T > TC) != flip), float(T)
        if numpy_scalars:
            phase, temperature = np.int64(phase), np.float64(temperature)
        items.append((spins, phase, temperature))
    return items


def write(tmp_path, *objects, protocol=4):
    path = tmp_path / "published.pickle"
    with path.open("wb") as file:
        for each in objects:
            pickle.dump(each, file, protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("numpy_scalars", [False, True])
def test_published_pickle_is_read(tmp_path, protocol, numpy_scalars):
    items = triples(numpy_scalars=numpy_scalars)
    data = import_published_pickle(write(tmp_path, ["what this is", items], protocol=protocol))
    assert data.spins.shape == (20, 16, 16)
    np.testing.assert_array_equal(data.spins, np.stack([item[0] for item in items]))
    np.testing.assert_array_equal(data.temperatures, [item[2] for item in items])
    assert (data.labels == (data.temperatures > TC)).all()
    assert data.parameters["description"] == "what this is"
    sampler = IsingSampler(16, np.ones(20), init=data.spins.numpy()[:, None], seed=0)
    np.testing.assert_allclose(data.energies, sampler.energy()[:, 0], atol=1e-14)
    np.testing.assert_allclose(data.magnetizations, sampler.magnetization()[:, 0], atol=1e-14)


def test_published_pickle_in_other_shapes(tmp_path):
    items = triples()
    reference = import_published_pickle(write(tmp_path, [{"about": 1}, items]))
    flipped = triples(flip=True)
    fortran = [(np.asfortranarray(s.astype(">f8")), p, T) for s, p, T in items]
    lists = [[s.tolist(), bool(p), T] for s, p, T in items]
    words = [(s.astype(np.int8), "disordered" if p else "ordered", T) for s, p, T in items]
    for objects in (
        [items],
        ["about", items],
        [("about", tuple(items))],
        [flipped],
        [fortran],
        [lists],
        [words],
    ):
        data = import_published_pickle(write(tmp_path, *objects))
        assert torch.equal(data.spins, reference.spins)
        assert torch.equal(data.labels, reference.labels)
    only_cold = [item for item in items if item[2] < TC]
    assert import_published_pickle(write(tmp_path, only_cold)).labels.sum() == 0


class Bomb:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def test_hostile_pickles_raise_and_run_nothing(tmp_path):
    marker = tmp_path / "ran"
    items = triples(2)
    bombs = [
        Bomb(os.system, (f"touch {marker}",)),
        Bomb(eval, (f"open({str(marker)!r}, 'w')",)),
        Bomb(getattr, ("text", "join")),
        Bomb(np.fromfile, ("/etc/passwd",)),
        Bomb(np.memmap, (str(marker), np.int8, "w+", 0, (16,))),
        Bomb(torch.zeros, (3,)),
        Bomb(bytearray, (10**6,)),
        print,
        np.matrix,
        np.random.default_rng(0),
        np.array([Bomb(os.system, (f"touch {marker}",))], dtype=object),
    ]
    for bomb in bombs:
        for objects in ([bomb], [["about", [(bomb, 0, 1.0), *items]]], [[bomb, items]], [items, bomb]):
            with pytest.raises(InputError):
                import_published_pickle(write(tmp_path, *objects))
            assert not marker.exists()


def test_crafted_arrays_raise(tmp_path):
    # an array whose declared shape is larger than its bytes, made by editing a valid pickle
    valid = pickle.dumps([(np.ones((16, 16), np.int8), 0, 1.0)], protocol=2)
    path = tmp_path / "crafted.pickle"
    assert valid.count(b"K\x10K\x10") == 1
    path.write_bytes(valid.replace(b"K\x10K\x10", b"K\xffK\xff"))
    with pytest.raises(InputError, match="bytes do not fit"):
        import_published_pickle(path)
    for edited in (valid.replace(b"i1", b"O8"), valid.replace(b"i1", b"V1"), valid.replace(b"i1", b"i9")):
        path.write_bytes(edited)
        with pytest.raises(InputError):
            import_published_pickle(path)


@pytest.mark.parametrize(
    "content",
    [
        "just text",
        [],
        {"a": 1},
        [("about", 1.0)],
        [(np.ones((4, 4)), 0)],
        [(np.ones((4, 4)), 0, 1.0), (np.ones((5, 4)), 0, 1.0)],
        [(np.zeros((4, 4)), 0, 1.0)],
        [(np.ones(4), 0, 1.0)],
        [(np.ones((4, 4)), 0, -1.0)],
        [(np.ones((4, 4)), 0, math.nan)],
        [(np.ones((4, 4)), 0, "warm")],
        [(np.ones((4, 4)), np.ones(2), 1.0)],
        [(np.ones((4, 4)), k, 1.0 + k) for k in range(3)],
        [(np.ones((4, 4)), k % 2, 1.0 + k) for k in range(4)],
        [(np.ones((4, 4)), 0, 1.0), (np.ones((4, 4)), 0, 3.0)],
    ],
)
def test_other_pickles_are_refused(tmp_path, content):
    with pytest.raises(InputError):
        import_published_pickle(write(tmp_path, ["about", content]))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"not a pickle",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"cos\nsystem\n(S'true'\ntR.",
    ],
)
def test_damaged_pickles_are_refused(tmp_path, content):
    path = tmp_path / "damaged.pickle"
    path.write_bytes(content)
    with pytest.raises(InputError):
        import_published_pickle(path)
    with pytest.raises(FileNotFoundError):
        import_published_pickle(tmp_path / "none.pickle")


def test_a_plain_split_takes_all_snapshots_alike(dataset):
    train, test = train_test_split(dataset, 21, 30, seed=3, stratified=False)
    assert (len(train), len(test)) == (21, 30)
    order = np.random.default_rng(3).permutation(1200)
    np.testing.assert_array_equal(train.spins, dataset.spins[order[:21]])
    np.testing.assert_array_equal(test.spins, dataset.spins[order[21:51]])
    with pytest.raises(InputError, match="needs 1300 snapshots, the data set has 1200"):
        train_test_split(dataset, 300, 1000, seed=3, stratified=False)
