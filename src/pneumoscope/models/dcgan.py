"""A DCGAN for gray squares: generator, discriminator, their first weights and their losses.

Source: Radford et al. (2016), Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks, ICLR, arXiv:1511.06434: strided and transposed convolutions in
place of pooling, BatchNorm but for the generator's output and the discriminator's input, ReLU in
the generator, LeakyReLU in the discriminator, tanh at the end, weights from N(0, 0.02).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FIRST_SIDE_PX = 4  # of the generator's first maps and the discriminator's last
_KERNEL = 4  # even, as the stride of 2 divides it: an odd one draws a chessboard
_SLOPE = 0.2
_WEIGHT_SD = 0.02


class Generator(nn.Module):
    """From latent vectors to pictures.

    Args:
        size_px: Side of the pictures, 64 or 128.
        latent_dim: Length of the latent vector ``z``.
        base_filters: Channels of the last maps before the picture; they double towards ``z``.

    Raises: ValueError: ``size_px`` is neither 64 nor 128.
    """

    def __init__(self, size_px: int, latent_dim: int = 100, base_filters: int = 64) -> None:
        super().__init__()
        self.size_px = size_px
        self.latent_dim = latent_dim
        widths = [base_filters * 2**step for step in reversed(range(_n_doublings(size_px)))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], _KERNEL, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for width, next_width in zip(widths, widths[1:], strict=False):
            layers += [
                nn.ConvTranspose2d(width, next_width, _KERNEL, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(next_width),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], 1, _KERNEL, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Return pictures (N, 1, size, size) in [-1, 1] for latent vectors (N, latent_dim)."""
        return self.layers(latent[:, :, None, None])  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """From pictures to the logit that each is a radiograph.

    Args:
        size_px: Side of the pictures, 64 or 128.
        base_filters: Channels of the first maps; they double at every halving of the side.

    Raises: ValueError: ``size_px`` is neither 64 nor 128.
    """

    def __init__(self, size_px: int, base_filters: int = 64) -> None:
        super().__init__()
        self.size_px = size_px
        widths = [base_filters * 2**step for step in range(_n_doublings(size_px))]
        layers: list[nn.Module] = [
            nn.Conv2d(1, widths[0], _KERNEL, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE, inplace=True),
        ]
        for width, next_width in zip(widths, widths[1:], strict=False):
            layers += [
                nn.Conv2d(width, next_width, _KERNEL, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(next_width),
                nn.LeakyReLU(_SLOPE, inplace=True),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, _KERNEL))
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits (N,), positive for "radiograph", of pictures (N, 1, size, size)."""
        return self.layers(pictures).flatten()  # type: ignore[no-any-return]


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight anew: N(0, 0.02), BatchNorm's factors N(1, 0.02), biases 0.

    Args:
        network: A `Generator` or a `Discriminator`, on the CPU.
        generator: The source of chance, so that the same seed gives the same weights.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, _WEIGHT_SD, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, _WEIGHT_SD, generator=generator)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def discriminator_loss(
    real_logit: Tensor, generated_logit: Tensor, *, real_label: float = 1.0
) -> Tensor:
    """Return the discriminator's loss: 0 where it tells all pictures apart, 2 ln 2 where none.

    Args:
        real_logit: (N,) of radiographs.
        generated_logit: (M,) of the generator's pictures.
        real_label: What a radiograph is to be answered with. Below 1 the least loss is not 0 but
            that label's own entropy, about 0.325 at 0.9.

    Returns: A scalar: mean of -ln D(x), plus mean of -ln(1 - D(G(z))).
    Source: Goodfellow et al. (2014), NeurIPS, arXiv:1406.2661, equation 1; the label: Salimans et
        al. (2016), NeurIPS, arXiv:1606.03498, section 3.4.
    """
    of_real = F.binary_cross_entropy_with_logits(
        real_logit, torch.full_like(real_logit, real_label)
    )
    of_generated = F.binary_cross_entropy_with_logits(
        generated_logit, torch.zeros_like(generated_logit)
    )
    return of_real + of_generated


def generator_loss(generated_logit: Tensor) -> Tensor:
    """Return the generator's non-saturating loss, from logits (M,) of its pictures.

    Returns: A scalar: mean of -ln D(G(z)), whose slope is steep where the discriminator is sure.
    Source: Goodfellow et al. (2014), section 3.
    """
    return F.binary_cross_entropy_with_logits(generated_logit, torch.ones_like(generated_logit))


@torch.no_grad()
def measure_batch_norm(network: nn.Module, batches: list[Tensor]) -> None:
    """Set BatchNorm's running statistics to what these inputs cause, and end in evaluation mode.

    The statistics that training gathered belong to weights that changed all the while; averaged
    weights never saw a batch at all.

    Args:
        network: Whose statistics are replaced.
        batches: Inputs of equal size; the statistics are the mean over them.

    Source: Wu and Johnson (2021), Rethinking "Batch" in BatchNorm, arXiv:2105.07576, section 3.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch then takes the plain mean over the batches
    network.train()
    for batch in batches:
        network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


def to_pictures(pixels: Tensor) -> Tensor:
    """Return gray values (N, H, W), uint8, as pictures (N, 1, H, W) in [-1, 1]."""
    return pixels[:, None].float().div(127.5).sub(1)


def to_pixels(pictures: Tensor) -> Tensor:
    """Return pictures (N, 1, H, W) in [-1, 1] as gray values (N, H, W), uint8."""
    return pictures[:, 0].add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def _n_doublings(size_px: int) -> int:
    """Return the number of widths between the first maps and the picture."""
    if size_px not in (64, 128):
        raise ValueError(f"size_px is {size_px}; a DCGAN draws squares of 64 or 128 px")
    return (size_px // _FIRST_SIDE_PX).bit_length() - 1
