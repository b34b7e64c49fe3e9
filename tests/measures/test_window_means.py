"""What is kept of a window: whitened mean embeddings, equal once read from files."""

import numpy as np
import pytest

from auditor.errors import AuditError
from auditor.measures.window_means import (
    CELLS,
    KERNELS,
    BaselineWindows,
    EmbeddingMap,
    Scatter,
    Whitening,
    WindowMeans,
    read_map,
    read_window,
    read_windows,
    together,
    write_window,
)
from auditor.profiles.profile import Profile
from auditor.profiles.row_sums import sketch_rows
from auditor.profiles.rows import Rows, joined
from auditor.storage.npz import write_arrays

D = 6


def window(rng, n=80, moved=0.0, images=True, name="r"):
    z = [rng.normal(size=(n, D)) * np.linspace(2, 0.2, D) + moved for _ in range(3)]
    image, text, response = ((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in z)
    has = {c: np.ones(n, bool) for c in ("image", "text", "response", "reference")}
    if not images:
        has["image"][:] = False
        image[:] = 0
    ids = tuple(f"{name}{i}" for i in range(n))
    rows = Rows(
        ids, ids, ids, image, text, joined(image, text, has["image"], has["text"]), response, response, has
    )
    return sketch_rows(rows, np.ones((n, 4), np.float32), [], 500)


def mapped(windows):
    scatter = Scatter()
    for each in windows:
        scatter.add(each)
    return scatter.embedding_map()


def test_rows_are_whitened_by_how_they_vary_within_windows():
    rng = np.random.default_rng(1)
    near, far = [window(rng, 400) for _ in range(5)], [window(rng, 400, 0.0) for _ in range(5)]
    for each in far:  # the same rows about means that differ
        each.sample.rows["text"][:] += rng.normal(size=D).astype(np.float32)
    a, b = (mapped(each).whitenings["text"].factor for each in (near, far))
    assert np.allclose(a, b, rtol=0.15, atol=0.1 * np.abs(a).max())
    values = np.linalg.eigvalsh(np.linalg.inv(a @ a))
    assert values[-1] / values[0] < 50  # the ridge keeps faint directions faint


def test_whitened_rows_have_length_one():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(200, D)) @ np.diag([5, 1, 1, 1, 0.1, 0.0])
    found = Whitening.of(z.mean(axis=0), np.cov(z.T))
    assert found is not None
    rows = found.rows(z)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert not found.rows(z.mean(axis=0)[None]).any()
    assert Whitening.of(np.ones(3), np.zeros((3, 3))) is None


def test_a_window_has_the_kernels_of_what_its_rows_have():
    rng = np.random.default_rng(3)
    windows = [window(rng) for _ in range(4)]
    embed = mapped(windows)
    whole, texts = embed.of(windows[0]), embed.of(window(rng, images=False))
    assert tuple(whole.means) == KERNELS and whole.n == 80
    assert whole.means["text.mean"].shape == (D,) and whole.means["joint.products"].shape == (CELLS,)
    assert set(texts.means) == {"text.mean", "text.products", "response.mean", "response.products"}
    assert not embed.of(Profile.empty()).means
    with pytest.raises(ValueError, match="the map is of 5"):
        EmbeddingMap({"text": Whitening(np.zeros(5), np.eye(5))}).of(windows[0])


def test_a_moved_mean_shows_in_its_own_modality():
    rng = np.random.default_rng(4)
    windows = [window(rng, 300) for _ in range(6)]
    embed = mapped(windows)
    base = np.mean([embed.of(w).means["text.mean"] for w in windows], axis=0)
    moved = window(rng, 300)
    moved.sample.rows["text"][:, 3] += 0.4
    far = np.square(embed.of(moved).means["text.mean"] - base).sum()
    near = np.square(embed.of(window(rng, 300)).means["text.mean"] - base).sum()
    assert far > 10 * near


def test_files_keep_every_number(tmp_path):
    rng = np.random.default_rng(5)
    windows = [window(rng) for _ in range(3)]
    embed = EmbeddingMap.from_arrays(mapped(windows).to_arrays())  # as a file keeps it
    means = tuple(embed.of(w) for w in windows)
    write_window(tmp_path / "w.npz", means[0])
    again = read_window(tmp_path / "w.npz")
    assert again.n == means[0].n and again.noise == means[0].noise
    assert all(np.array_equal(again.means[name], mean) for name, mean in means[0].means.items())
    write_arrays(tmp_path / "b.npz", BaselineWindows(embed, ("a", "b", "c"), means).to_arrays())
    found = read_windows(tmp_path / "b.npz")
    assert found.names == ("a", "b", "c") and len(found.windows) == 3
    assert all(np.array_equal(found.windows[2].means[k], v) for k, v in means[2].means.items())
    for read in (found.embedding_map, read_map(tmp_path / "b.npz")):
        same = read.of(windows[1])
        assert all(np.array_equal(same.means[name], mean) for name, mean in means[1].means.items())


def test_what_is_no_such_file_is_refused(tmp_path):
    rng = np.random.default_rng(6)
    arrays = BaselineWindows(mapped([window(rng)]), ("a",), (WindowMeans(),)).to_arrays()
    cases = [
        {**arrays, "format": np.array(99)},
        {**arrays, "7.n": np.array(3)},
        {**arrays, "map.text.factor": np.full((D, D), np.nan, np.float32)},
        {name: array for name, array in arrays.items() if name != "0.n"},
        {**arrays, "0.mean.text.mean": np.array([np.inf]), "0.noise.text.mean": np.array(1.0)},
        {**arrays, "0.mean.text.mean": np.ones(3), "0.noise.text.mean": np.array(-1.0)},
    ]
    for i, broken in enumerate(cases):
        write_arrays(tmp_path / f"{i}.npz", broken)
        with pytest.raises(AuditError):
            read_windows(tmp_path / f"{i}.npz")


def test_windows_of_other_dimensions_do_not_stand_together():
    one, other = (WindowMeans({"text.mean": np.ones(d)}, {"text.mean": 0.1}, 9) for d in (3, 4))
    with pytest.raises(ValueError, match=r"text\.mean"):
        together([one, other])
    both = together([one, WindowMeans(n=5)])["text.mean"]
    assert both.means.shape == (2, 3) and np.isnan(both.noise[1])
