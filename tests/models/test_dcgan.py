"""The DCGAN's shapes, first weights and losses against the paper and hand-computed values."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from pneumoscope.models.dcgan import (
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
    initialise,
    measure_batch_norm,
    to_pictures,
    to_pixels,
)


@pytest.mark.parametrize("size_px", [64, 128])
def test_generator_and_discriminator_fit_each_other(size_px: int) -> None:
    generator = Generator(size_px, latent_dim=7, base_filters=2)
    discriminator = Discriminator(size_px, base_filters=2)
    pictures = generator(torch.randn(3, 7)).detach()
    assert pictures.shape == (3, 1, size_px, size_px)
    assert float(pictures.abs().max()) <= 1
    assert discriminator(pictures).shape == (3,)


def test_the_64_px_networks_have_the_parameters_that_their_layers_add_up_to() -> None:
    taps = 4 * 4
    pairs = [(512, 256), (256, 128), (128, 64)]
    inner = sum(wide * narrow * taps for wide, narrow in pairs)
    generator = 100 * 512 * taps + inner + 64 * taps + 1 + 2 * (512 + 256 + 128 + 64)
    discriminator = 64 * taps + 64 + inner + 512 * taps + 1 + 2 * (128 + 256 + 512)
    counts = [
        sum(p.numel() for p in network.parameters())
        for network in (Generator(64), Discriminator(64))
    ]
    assert counts == [generator, discriminator]


def test_layers_are_those_of_the_paper() -> None:
    generator, discriminator = Generator(128, base_filters=2), Discriminator(128, base_filters=2)
    kinds = {type(layer) for layer in (*generator.layers, *discriminator.layers)}
    assert kinds == {
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.BatchNorm2d,
        nn.ReLU,
        nn.LeakyReLU,
        nn.Tanh,
    }
    assert isinstance(generator.layers[-1], nn.Tanh)
    assert isinstance(discriminator.layers[1], nn.LeakyReLU)  # no BatchNorm at the input
    slopes = {m.negative_slope for m in discriminator.layers if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.2}


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="64 or 128"):
        Generator(96)


def test_first_weights_have_the_papers_mean_and_spread() -> None:
    network = Generator(64)
    initialise(network, torch.Generator().manual_seed(0))
    convolution = network.layers[3].weight.detach()
    # The standard error of a mean of n values is sd / sqrt(n), of an sd about sd / sqrt(2 n).
    error = 0.02 / math.sqrt(convolution.numel())
    assert float(convolution.mean()) == pytest.approx(0, abs=4 * error)
    assert float(convolution.std()) == pytest.approx(0.02, abs=4 * error)
    norm = network.layers[1].requires_grad_(False)
    error = 0.02 / math.sqrt(norm.weight.numel())
    assert float(norm.weight.mean()) == pytest.approx(1, abs=4 * error)
    assert float(norm.weight.std()) == pytest.approx(0.02, abs=4 * error)
    assert not norm.bias.any()
    assert not network.layers[-2].bias.any()


def test_the_same_seed_draws_the_same_weights() -> None:
    first, again, other = (Discriminator(64, base_filters=2) for _ in range(3))
    for network, seed in ((first, 1), (again, 1), (other, 2)):
        initialise(network, torch.Generator().manual_seed(seed))
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


def test_discriminator_loss_by_hand() -> None:
    # Logits ln 3 and ln 4 are probabilities 3/4 and 4/5; -ln 3 is 1/4; 0 is 1/2.
    real = torch.tensor([math.log(3), math.log(4)])
    generated = torch.tensor([-math.log(3), 0.0, 0.0])
    by_hand = -(math.log(3 / 4) + math.log(4 / 5)) / 2
    by_hand -= (math.log(3 / 4) + 2 * math.log(1 / 2)) / 3
    assert float(discriminator_loss(real, generated)) == pytest.approx(by_hand, rel=1e-6)


def test_discriminator_loss_of_a_guess_and_of_certainty() -> None:
    guess, sure = torch.zeros(4), torch.full((4,), 60.0)
    assert float(discriminator_loss(guess, guess)) == pytest.approx(2 * math.log(2))
    assert float(discriminator_loss(sure, -sure)) == pytest.approx(0, abs=1e-20)
    assert float(discriminator_loss(-sure, sure)) == pytest.approx(120)  # no overflow


def test_a_smoothed_label_by_hand() -> None:
    real, generated = torch.tensor([math.log(3)]), torch.tensor([-60.0])
    by_hand = -(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4))
    loss = discriminator_loss(real, generated, real_label=0.9)
    assert float(loss) == pytest.approx(by_hand, rel=1e-6)


def test_generator_loss_by_hand_and_steep_where_it_is_found_out() -> None:
    logit = torch.tensor([math.log(3), -math.log(4)], requires_grad=True)
    loss = generator_loss(logit)
    assert float(loss.detach()) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 5)) / 2, rel=1e-6)
    loss.backward()
    # d(-ln p)/d(logit) is p - 1: -1/4 and -4/5, halved by the mean. The saturating loss of the
    # same paper has -p instead, small just where the generator is found out.
    assert logit.grad is not None
    assert logit.grad.tolist() == pytest.approx([-1 / 8, -2 / 5], rel=1e-6)


def test_batch_norm_statistics_are_those_of_the_batches_given() -> None:
    torch.manual_seed(0)
    generator = Generator(64, latent_dim=5, base_filters=2)
    initialise(generator, torch.Generator().manual_seed(0))
    norm = generator.layers[1]
    generator.train()
    generator(torch.randn(16, 5) + 7)  # leaves statistics, and a count of batches
    batches = [torch.randn(16, 5) for _ in range(3)]
    measure_batch_norm(generator, batches)
    kernel = generator.layers[0].weight  # on a 1 x 1 map it is a matrix product
    outputs = [np.einsum("nc,cokl->nokl", b.numpy(), kernel.detach().numpy()) for b in batches]
    means = np.mean([out.mean(axis=(0, 2, 3)) for out in outputs], axis=0)
    variances = np.mean([out.var(axis=(0, 2, 3), ddof=1) for out in outputs], axis=0)
    np.testing.assert_allclose(norm.running_mean, means, atol=1e-6)
    np.testing.assert_allclose(norm.running_var, variances, rtol=1e-5)
    assert not generator.training
    assert norm.momentum == 0.1


def test_gray_values_survive_the_way_to_pictures_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    pictures = to_pictures(pixels)
    assert pictures.shape == (1, 1, 16, 16)
    assert (float(pictures.min()), float(pictures.max())) == (-1, 1)
    assert torch.equal(to_pixels(pictures), pixels)
