import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from pneumoscope.models.losses import weighted_bce


def test_loss_is_the_weighted_mean_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    logit, target = rng.normal(size=20), rng.integers(0, 2, size=20)
    probability = 1 / (1 + np.exp(-logit))
    loss = weighted_bce(
        torch.tensor(logit, dtype=torch.float32),
        torch.tensor(target, dtype=torch.float32),
        (2.0, 0.5),
    )
    weight = np.where(target == 1, 0.5, 2.0)
    # log_loss divides by the weights' sum; Keras' class_weight divides by the number of images
    expected = log_loss(target, probability, sample_weight=weight) * weight.sum() / 20
    assert loss.item() == pytest.approx(expected, rel=1e-5)
