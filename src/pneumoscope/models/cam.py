"""Where the evidence lies: class activation maps, worked out without a backward pass.

Every head here is linear layers with ReLU between them, so its gradient is a product of weights
and of the ReLUs' masks. Written out, it lives in an exported graph, where autograd cannot.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pneumoscope.models.network import Pooling


def evidence_map(
    maps: Tensor, *, dense: Sequence[nn.Linear], head: nn.Linear, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Return the logit, and the evidence for it at each position of the last feature map.

    With a pooled linear head (`mean`, no dense layer) this is the class activation map of Zhou et
    al.: its mean plus the head's bias is the logit. With any other head it is Grad-CAM, before
    its final ReLU, times the number of positions, which makes the two the same formula:
    ``cam = h * w * sum over c of alpha_c * maps_c``, where ``alpha_c`` is the mean over positions
    of d logit / d maps_c. Evidence against pneumonia stays, as negative values.

    Args:
        maps: (N, C, h, w), the last feature maps.
        dense: Fully connected layers, each followed by ReLU, as `DetectorNetwork.dense`.
        head: The layer with one output.
        pooling: What is between the maps and the first layer.

    Returns: Logit (N,) without dropout, as in evaluation mode, and map (N, h, w), signed, in logit
        units. Each image's depends on no other image of the batch.

    Source: Zhou et al. (2016), CVPR, arXiv:1512.04150; Selvaraju et al. (2017), ICCV,
        arXiv:1610.02391.
    """
    height, width = maps.shape[2:]
    x = maps.mean((2, 3)) if pooling == "mean" else maps.flatten(1)
    masks = []  # (N, units) a layer: 1 where its ReLU lets the gradient through
    for layer in dense:
        x = layer(x)
        masks.append((x > 0).type_as(x))
        x = torch.relu(x)
    logit = head(x).squeeze(1)

    first, *later = [*(layer.weight for layer in dense), head.weight]
    weights = [_sum_over_positions(first, maps, pooling), *later]
    slope = weights.pop()  # (1, units), then (N, units) a layer, and in the end (N or 1, C)
    for weight, mask in zip(reversed(weights), reversed(masks), strict=True):
        slope = (slope * mask) @ weight
    cam = slope.unsqueeze(1) @ maps.flatten(2)  # (N, 1, C) @ (N, C, h * w)
    return logit, cam.reshape(-1, height, width)


def _sum_over_positions(weight: Tensor, maps: Tensor, pooling: Pooling) -> Tensor:
    """Return (units, C): the first layer's output per unit of each map, over all its positions.

    That is h * w times the mean over positions of the layer's gradient. Summing the weights once
    here, instead of the gradient of each image later, saves a flattened head h * w of the work.
    """
    if pooling == "mean":
        return weight  # h * w positions, each with weight / (h * w)
    return weight.reshape(weight.shape[0], maps.shape[1], -1).sum(2)
