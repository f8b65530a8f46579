"""How unlike the training radiographs a picture is: a score that lives in the bundle's graph.

The network's first feature maps are pooled, each channel to its mean and its standard deviation,
and a Gaussian is laid through what radiographs of the training split give. Early maps tell edges,
text and texture apart, so that a photograph, a drawing or a picture of noise lies far outside; late
ones have learned the training radiographs by heart, and new ones look strange to them. The Gaussian
is probabilistic PCA (Tipping & Bishop 1999): along the leading axes each has its own variance, in
all other directions there is one. Two thirds of what it is laid through are copies: of another
sharpness, exposure and grain, and without the traces of compression. Early maps also see how a file
was saved, and a radiograph that was resized, saved again or never compressed is still a radiograph.

To use it: `fit_atypicality` on training radiographs, score the tuning split, `threshold_at` of
these scores; a picture is flagged when its score is *above* the threshold.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pneumoscope.core.errors import DatasetError, RunError
from pneumoscope.models.network import DetectorNetwork

MIN_RADIOGRAPHS = 32  # fewer say nothing about how radiographs vary
_N_LEVELS = 2  # maps at 1/2 and 1/4 of the picture; later ones take compression for strangeness
_N_AXES = 64  # of 80 with an EfficientNet-Lite0; with 32 the figures are the same
_SCALE = (0.5, 1.0)  # of a copy's side before it is enlarged again
_GAMMA = (0.75, 1.33)
_NOISE_SD = 0.02
_MIN_SPREAD = 1e-6  # of a feature that hardly varies: a dead channel


class AtypicalityHead(nn.Module):
    """Distance from the training radiographs, in standard deviations.

    score = sqrt(((x - m)' C^-1 (x - m)) / D), x being the D pooled features, m their mean and C
    their covariance: near 1 for a training radiograph, whatever the network's size.

    Args:
        mean: (D,) of the pooled features over training radiographs.
        spread: (D,) their standard deviations, above 0.
        axes: (D, K) orthonormal leading axes of the standardised features.
        variance: (K,) along these axes.
        rest_variance: In each other direction.
    """

    mean: Tensor
    spread: Tensor
    axes: Tensor
    axis_weight: Tensor
    rest_weight: Tensor

    def __init__(
        self,
        *,
        mean: Tensor,
        spread: Tensor,
        axes: Tensor,
        variance: Tensor,
        rest_variance: float,
    ) -> None:
        super().__init__()
        n_features = len(mean)
        self.register_buffer("mean", mean.float())
        self.register_buffer("spread", spread.float())
        self.register_buffer("axes", axes.float())
        self.register_buffer("axis_weight", (1 / (n_features * variance)).float())
        self.register_buffer("rest_weight", torch.tensor(1 / (n_features * rest_variance)))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Return scores.

        Args:
            levels: `DetectorNetwork.levels` of the network that the head was fitted to.

        Returns: (N,), at least 0; larger is less like the training radiographs.
        """
        x = (pool_levels(levels[:_N_LEVELS]) - self.mean) / self.spread
        along = x @ self.axes
        rest = x - along @ self.axes.T  # not |x|^2 - |along|^2, which float32 would cancel
        squared = along.square() @ self.axis_weight + rest.square().sum(dim=1) * self.rest_weight
        return squared.sqrt()


def pool_levels(levels: Sequence[Tensor]) -> Tensor:
    """Return each channel's mean and standard deviation over the positions.

    Args:
        levels: Feature maps, each (N, C, h, w).

    Returns: (N, 2 x the sum of all C).
    """
    pooled = []
    for maps in levels:
        mean = maps.mean(dim=(2, 3), keepdim=True)
        spread = (maps - mean).square().mean(dim=(2, 3)).sqrt()
        pooled += [mean.flatten(1), spread]
    return torch.cat(pooled, dim=1)


def fit_atypicality(
    network: DetectorNetwork,
    gray_batches: Iterable[Tensor],
    *,
    n_axes: int = _N_AXES,
    has_copies: bool = True,
) -> AtypicalityHead:
    """Return the head for a network, fitted to radiographs of its training split.

    The copies are drawn from a fixed seed: the same batches give the same head.

    Args:
        network: Trained; it is read in evaluation mode and left in the mode it was in.
        gray_batches: Each (N, 1, S, S) in [0, 1]; read once.
        n_axes: At most so many axes have a variance of their own.
        has_copies: Add two changed copies of each; without, a radiograph that was merely resized,
            saved again or never compressed counts as atypical.

    Raises:
        DatasetError: there are fewer than `MIN_RADIOGRAPHS` radiographs.
        RunError: the network's maps hold NaN or infinite values.
    """
    features = _pooled_features(network, gray_batches, has_copies=has_copies)
    n, n_features = features.shape
    mean = features.mean(dim=0)
    spread = features.std(dim=0).clamp(min=_MIN_SPREAD)
    x = (features - mean) / spread
    variance, axes = torch.linalg.eigh(x.T @ x / (n - 1))  # ascending
    n_kept = min(n_axes, n - 1, n_features - 1)
    rest = variance[:-n_kept].clamp(min=0)
    return AtypicalityHead(
        mean=mean,
        spread=spread,
        axes=axes[:, -n_kept:],
        variance=variance[-n_kept:].clamp(min=_MIN_SPREAD),
        rest_variance=float(rest.mean().clamp(min=_MIN_SPREAD)),
    )


def threshold_at(score: NDArray[np.floating], *, share: float = 0.02) -> float:
    """Return the threshold that flags a share of the tuning split, or the next smaller share.

    A picture is flagged when its score is above the threshold. The threshold is itself one of the
    scores, so no runtime's rounding of an interpolated value can matter.

    Args:
        score: (N,) of the tuning split.
        share: To flag, at least 0 and below 1.

    Raises: ValueError: there are no scores, one is not finite, or ``share`` is out of range.
    """
    if len(score) == 0 or not np.isfinite(score).all():
        raise ValueError(f"{len(score)} scores, {np.isfinite(score).sum()} of them finite")
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}; it must be at least 0 and below 1")
    n_flagged = int(share * len(score) + 1e-9)  # 0.02 * 50 must not fall below 1
    return float(np.sort(score)[len(score) - 1 - n_flagged])


def _pooled_features(
    network: DetectorNetwork, gray_batches: Iterable[Tensor], *, has_copies: bool
) -> Tensor:
    """Return (N, D), or with copies (3 N, D), in float64, on the CPU."""
    device = next(network.parameters()).device
    # A generator each: what is drawn must not depend on how the radiographs are batched.
    ways = [
        (way, torch.Generator().manual_seed(seed))
        for seed, way in enumerate(_WAYS if has_copies else ())
    ]
    was_training = network.training
    network.eval()
    pooled: list[Tensor] = []
    n = 0
    try:
        with torch.inference_mode():
            for gray in gray_batches:
                n += len(gray)
                copies = [way(gray.cpu(), generator) for way, generator in ways]
                for part in (gray, *copies):
                    levels = network.levels(part.to(device))[:_N_LEVELS]
                    pooled.append(pool_levels(levels).double().cpu())
    finally:
        network.train(was_training)
    if n < MIN_RADIOGRAPHS:
        raise DatasetError(
            f"atypicality: {n} training radiographs; at least {MIN_RADIOGRAPHS} are needed to tell "
            "how radiographs vary. Add some to train."
        )
    features = torch.cat(pooled)
    n_bad = int((~features.isfinite().all(dim=1)).sum())
    if n_bad:
        raise RunError(
            f"atypicality: the network's feature maps are NaN or infinite for {n_bad} of "
            f"{len(features)} training radiographs and copies. The run diverged, or its checkpoint "
            "is damaged: train again."
        )
    return features


def _change(
    gray: Tensor,
    generator: torch.Generator,
    *,
    resize: Callable[[Tensor, int], Tensor],
    grain: float,
) -> Tensor:
    """Return copies (N, 1, S, S) of another size, exposure and grain.

    Args:
        gray: (N, 1, S, S) in [0, 1], on the CPU.
        generator: What is drawn comes from it, in the order of the radiographs.
        resize: Makes a picture (1, 1, S, S) as small as is drawn, and fills the square again.
        grain: Largest standard deviation of the noise.
    """
    copies = []
    for one in gray[:, None]:
        scale, gamma, noise = torch.rand(3, generator=generator).tolist()
        side_px = round(one.shape[-1] * (_SCALE[0] + (_SCALE[1] - _SCALE[0]) * scale))
        copy = resize(one, side_px)
        copy = copy.clamp(0, 1) ** (_GAMMA[0] * (_GAMMA[1] / _GAMMA[0]) ** gamma)
        copies.append(
            (copy + grain * noise * torch.randn(one.shape, generator=generator)).clamp(0, 1)
        )
    return torch.cat(copies) if copies else gray


def _enlarge_again(picture: Tensor, side_px: int) -> Tensor:
    """Return the picture less sharp: shrunk to ``side_px`` and enlarged again."""
    small = _resize(picture, side_px)
    return _resize(small, picture.shape[-1])


def _fill_by_mirror(picture: Tensor, side_px: int) -> Tensor:
    """Return the picture without the traces of compression, of full sharpness.

    Shrinking takes the traces away, and enlarging again would take the sharpness, too. So the
    picture stays small, and the rest of the square is its mirror image: where something lies
    does not matter to means and deviations over the positions.
    """
    whole_px = picture.shape[-1]
    side_px = max(side_px, whole_px // 2 + 1)  # a mirror image is smaller than the picture
    rest_px = whole_px - side_px
    return functional.pad(_resize(picture, side_px), (0, rest_px, 0, rest_px), mode="reflect")


def _resize(picture: Tensor, side_px: int) -> Tensor:
    return functional.interpolate(picture, size=side_px, mode="bilinear", antialias=True)


_WAYS = (
    partial(_change, resize=_enlarge_again, grain=_NOISE_SD),
    partial(_change, resize=_fill_by_mirror, grain=_NOISE_SD / 2),
)
