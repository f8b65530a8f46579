import runpy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from torch import Tensor, nn

from pneumoscope.core.errors import DatasetError, RunError
from pneumoscope.imaging.phantom import draw_phantom
from pneumoscope.models.network import DetectorNetwork
from pneumoscope.training.atypicality import (
    MIN_RADIOGRAPHS,
    AtypicalityHead,
    fit_atypicality,
    pool_levels,
    threshold_at,
)

_SIZE = 32
_NOT_RADIOGRAPHS = runpy.run_path(str(Path(__file__).parents[1] / "not_radiographs.py"))


class TwoLevels(DetectorNetwork):
    """Random convolutions: 6 and 10 channels, so 32 features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.size_px = _SIZE
        self.pooling = "mean"
        self.first = nn.Conv2d(1, 6, 3, stride=2)
        self.dropout = nn.Dropout(0.5)
        self.second = nn.Conv2d(6, 10, 3, stride=2)
        self.dense = nn.ModuleList()
        self.head = nn.Linear(10, 1)

    def levels(self, gray: Tensor) -> tuple[Tensor, ...]:
        first = torch.relu(self.first(gray))
        return first, torch.relu(self.second(self.dropout(first)))

    def head_with_penalty(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(maps.mean((2, 3))).squeeze(1), maps.new_zeros(())


class FourLevels(TwoLevels):
    """A third level, and a fourth that nobody may look at."""

    def levels(self, gray: Tensor) -> tuple[Tensor, ...]:
        first, second = super().levels(gray)
        return first, second, second.square(), torch.full_like(second, float("nan"))


class Whole(nn.Module):
    """What a bundle's graph does: network, then head."""

    def __init__(self, network: DetectorNetwork, head: AtypicalityHead) -> None:
        super().__init__()
        self.network = network
        self.score = head

    def forward(self, gray: Tensor) -> Tensor:
        return self.score(self.network.levels(gray))


def phantoms(count: int, *, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    pixels = [
        draw_phantom(rng, target=index % 2, size_px=_SIZE).pixels  # type: ignore[arg-type]
        for index in range(count)
    ]
    return torch.from_numpy(np.stack(pixels))[:, None].float() / 255


def features(network: DetectorNetwork, gray: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return pool_levels(network.levels(gray)).double().numpy()


def score(network: DetectorNetwork, head: AtypicalityHead, gray: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return head(network.levels(gray)).numpy()


@pytest.fixture(scope="module")
def network() -> DetectorNetwork:
    return TwoLevels().eval()


@pytest.fixture(scope="module")
def training() -> Tensor:
    return phantoms(300, seed=0)


@pytest.fixture(scope="module")
def head(network: DetectorNetwork, training: Tensor) -> AtypicalityHead:
    return fit_atypicality(network, training.split(64), n_axes=8, has_copies=False)


def test_pooling_gives_each_channels_mean_and_standard_deviation() -> None:
    rng = np.random.default_rng(0)
    levels = [rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(3, 2, 7, 7))]
    expected = np.concatenate(
        [statistic(maps, axis=(2, 3)) for maps in levels for statistic in (np.mean, np.std)], axis=1
    )
    pooled = pool_levels([torch.from_numpy(maps) for maps in levels])
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-12)


def test_the_score_is_the_mahalanobis_distance_under_probabilistic_pca(
    network: DetectorNetwork, training: Tensor, head: AtypicalityHead
) -> None:
    x = features(network, training)
    mean, spread = x.mean(0), x.std(0, ddof=1)
    precision = PCA(n_components=8, svd_solver="full").fit((x - mean) / spread).get_precision()
    new = torch.cat([phantoms(5, seed=1), torch.rand(5, 1, _SIZE, _SIZE)])
    z = (features(network, new) - mean) / spread
    expected = [mahalanobis(row, np.zeros(len(row)), precision) for row in z]
    got = score(network, head, new)
    np.testing.assert_allclose(got, np.array(expected) / np.sqrt(x.shape[1]), rtol=1e-3)


def test_with_all_axes_but_one_it_is_the_plain_mahalanobis_distance(
    network: DetectorNetwork, training: Tensor
) -> None:
    head = fit_atypicality(network, [training], n_axes=1000, has_copies=False)
    x = features(network, training)
    expected = EmpiricalCovariance().fit(x).mahalanobis(x) * (len(x) - 1) / len(x)
    got = score(network, head, training).astype(np.float64) ** 2 * x.shape[1]
    np.testing.assert_allclose(got, expected, rtol=2e-2)


def test_training_radiographs_score_near_one(
    network: DetectorNetwork, training: Tensor, head: AtypicalityHead
) -> None:
    squared = score(network, head, training).astype(np.float64) ** 2
    assert squared.mean() == pytest.approx(299 / 300, rel=1e-3)  # trace(C^-1 C) / D


def test_an_answer_does_not_depend_on_the_batch(
    network: DetectorNetwork, head: AtypicalityHead
) -> None:
    gray = phantoms(7, seed=2)
    one_by_one = np.concatenate([score(network, head, one[None]) for one in gray])
    np.testing.assert_allclose(score(network, head, gray), one_by_one, rtol=1e-5)


def test_the_same_radiographs_give_the_same_head_however_they_are_batched(
    network: DetectorNetwork, training: Tensor
) -> None:
    head = fit_atypicality(network, training.split(64))
    again = fit_atypicality(network, training.split(64))
    for name, value in head.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    other = fit_atypicality(network, training.split(50))
    new = phantoms(5, seed=3)
    np.testing.assert_allclose(score(network, head, new), score(network, other, new), rtol=1e-4)


def test_with_copies_lost_sharpness_counts_less(
    network: DetectorNetwork, training: Tensor, head: AtypicalityHead
) -> None:
    tolerant = fit_atypicality(network, [training], n_axes=8)
    new = phantoms(100, seed=6)
    blurred = torch.from_numpy(gaussian_filter(new.numpy(), (0, 0, 0.7, 0.7)))
    ratio_tolerant, ratio_strict = (
        np.median(score(network, one, blurred)) / np.median(score(network, one, new))
        for one in (tolerant, head)
    )
    assert ratio_tolerant < 0.9 * ratio_strict  # 0.77 and 0.95 as written


def test_fitting_reads_in_evaluation_mode_and_leaves_the_mode_as_it_was(training: Tensor) -> None:
    network = TwoLevels().train()
    head = fit_atypicality(network, [training], n_axes=8)
    assert network.training
    assert network.dropout.training
    calm = fit_atypicality(TwoLevels().eval(), [training], n_axes=8)
    assert torch.equal(head.mean, calm.mean)


def test_an_exported_graph_answers_as_torch(
    network: DetectorNetwork, head: AtypicalityHead, tmp_path: Path
) -> None:
    path = tmp_path / "whole.onnx"
    torch.onnx.export(
        Whole(network, head).eval(),
        (phantoms(2, seed=4),),
        path,
        input_names=["gray"],
        opset_version=18,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
        verbose=False,
    )
    gray = torch.cat(
        [phantoms(3, seed=5), torch.rand(2, 1, _SIZE, _SIZE), torch.zeros(1, 1, 32, 32)]
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"gray": gray.numpy()})
    assert answer.dtype == np.float32
    assert answer.shape == (6,)
    np.testing.assert_allclose(answer, score(network, head, gray), rtol=1e-4)


def test_a_channel_that_never_varies_does_not_break_the_score(training: Tensor) -> None:
    network = TwoLevels().eval()
    with torch.no_grad():
        network.first.weight[0] = 0
        network.first.bias[0] = -1  # a dead channel: zero everywhere
    head = fit_atypicality(network, [training], n_axes=8)
    answers = score(network, head, torch.cat([training, torch.rand(4, 1, _SIZE, _SIZE)]))
    assert np.isfinite(answers).all()
    assert answers[-4:].min() > answers[:300].max()


def test_the_first_three_levels_are_looked_at_and_no_later_one(training: Tensor) -> None:
    network = FourLevels().eval()
    head = fit_atypicality(network, [training])
    assert len(head.mean) == 2 * (6 + 10)
    assert np.isfinite(score(network, head, training)).all()


def test_too_few_radiographs_are_refused(network: DetectorNetwork) -> None:
    with pytest.raises(DatasetError, match="31 training radiographs; at least 32"):
        fit_atypicality(network, [phantoms(MIN_RADIOGRAPHS - 1, seed=0)])
    with pytest.raises(DatasetError, match="0 training radiographs"):
        fit_atypicality(network, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_without_finite_maps_is_refused(training: Tensor, value: float) -> None:
    network = TwoLevels().eval()
    with torch.no_grad():
        network.second.bias[2] = value
    with pytest.raises(RunError, match="NaN or infinite for 900 of 900"):
        fit_atypicality(network, [training])


def count_flagged(scores: Sequence[float], threshold: float) -> int:
    """Oracle: the definition, one by one."""
    return sum(one > threshold for one in scores)


@pytest.mark.parametrize(("n", "expected"), [(50, 1), (49, 0), (520, 10), (100, 2), (1, 0)])
def test_the_threshold_flags_the_share_that_was_asked_for(n: int, expected: int) -> None:
    scores = np.random.default_rng(0).gamma(3, size=n).astype(np.float32)
    assert count_flagged(list(scores), threshold_at(scores)) == expected


def test_ties_are_flagged_less_often_never_more() -> None:
    scores = np.repeat(np.array([1, 2, 3], np.float32), 10)
    assert count_flagged(list(scores), threshold_at(scores, share=0.5)) == 10


@pytest.mark.parametrize(
    ("scores", "share"), [([], 0.02), ([1.0, np.nan], 0.02), ([1.0], 1.0), ([1.0], -0.1)]
)
def test_a_threshold_of_nothing_is_refused(scores: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="scores|share"):
        threshold_at(np.array(scores), share=share)


def test_pictures_of_other_things_are_enough_and_differ() -> None:
    pictures = _NOT_RADIOGRAPHS["collect"]()
    assert len(pictures) >= 100
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert all(p.pixels.dtype == np.uint8 and p.pixels.ndim == 2 for p in pictures)
    varied = _NOT_RADIOGRAPHS["vary"](pictures[0])
    assert {picture.source for picture in varied} == {pictures[0].source}
