"""Focal loss against its definition and against torchvision's."""

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from pneumoscope.models.losses import focal_loss, weighted_bce

LOGIT = np.array([-9.0, -2.5, -0.3, 0.0, 0.4, 3.0, 11.0])


@pytest.mark.parametrize(("gamma", "alpha"), [(2, 0.25), (0, 0.5), (0.5, 0.9), (5, 0.1)])
@pytest.mark.parametrize("positive", [0, 1])
def test_focal_loss_is_its_definition_and_torchvisions(
    gamma: float, alpha: float, positive: int
) -> None:
    target = np.full(len(LOGIT), positive)
    target[::2] = 1 - positive
    p = 1 / (1 + np.exp(-LOGIT))
    p_t = np.where(target == 1, p, 1 - p)
    alpha_t = np.where(target == 1, alpha, 1 - alpha)
    definition = np.mean(-alpha_t * (1 - p_t) ** gamma * np.log(p_t))
    logit, wanted = torch.tensor(LOGIT), torch.tensor(target, dtype=torch.float32)
    ours = focal_loss(logit.float(), wanted, gamma=gamma, alpha=alpha).item()
    theirs = sigmoid_focal_loss(
        logit.float(), wanted, alpha=alpha, gamma=gamma, reduction="mean"
    ).item()
    assert ours == pytest.approx(definition, rel=1e-4)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_gamma_zero_and_alpha_half_is_half_of_cross_entropy() -> None:
    logit, target = torch.tensor(LOGIT).float(), torch.tensor([0, 1, 1, 0, 1, 0, 1.0])
    half = focal_loss(logit, target, gamma=0, alpha=0.5)
    assert half.item() == pytest.approx(weighted_bce(logit, target, (1, 1)).item() / 2, rel=1e-6)


@pytest.mark.parametrize("gamma", [0, 0.01, 0.5, 0.99, 1, 2])
@pytest.mark.parametrize("size", [20.0, 200.0])
def test_far_off_logits_have_a_finite_loss_and_slope(gamma: float, size: float) -> None:
    logit = torch.tensor([-size, size, -size, size], requires_grad=True)
    loss = focal_loss(logit, torch.tensor([0.0, 0, 1, 1]), gamma=gamma, alpha=0.25)
    loss.backward()
    assert loss.item() == pytest.approx((0.75 * size + 0.25 * size) / 4)
    assert torch.isfinite(logit.grad).all()
    assert torch.allclose(logit.grad, torch.tensor([0, 0.75, -0.25, 0]) / 4)
