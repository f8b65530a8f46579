"""Losses on the logit."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_bce(logit: Tensor, target: Tensor, class_weights: tuple[float, float]) -> Tensor:
    """Return the mean binary cross-entropy, each radiograph weighted by its class.

    Args:
        logit: (N,) before the sigmoid.
        target: (N,) 0 or 1, as float.
        class_weights: Of the negative and of the positive class.

    Returns: A scalar: the sum of weight times loss, divided by N, as Keras' ``class_weight`` does.
    """
    negative, positive = class_weights
    weight = negative + (positive - negative) * target
    return F.binary_cross_entropy_with_logits(logit.float(), target, weight=weight)


def focal_loss(logit: Tensor, target: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Return the mean focal loss: cross-entropy that falls away where the answer is sure and right.

    Args:
        logit: (N,) before the sigmoid.
        target: (N,) 0 or 1, as float.
        gamma: At 0 it is cross-entropy weighted by alpha.
        alpha: Weight of the positive class; the negative's is 1 - alpha.

    Returns: A scalar: the mean of -alpha_t (1 - p_t) ** gamma log(p_t).
    Source: Lin et al. (2017), ICCV, arXiv:1708.02002, equation 5.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logit.float(), target, reduction="none")
    error = 1 - torch.exp(-cross_entropy)  # 1 - p_t
    if gamma < 1:
        # Such a power is infinitely steep at 0, where a sure and right answer ends up from a logit
        # of 17 on; times the error's own slope there, which is 0, the gradient would be NaN.
        error = error.clamp(min=torch.finfo(error.dtype).tiny)
    weight = (1 - alpha) + (2 * alpha - 1) * target
    return (weight * error**gamma * cross_entropy).mean()
