"""Losses on the logit."""

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
