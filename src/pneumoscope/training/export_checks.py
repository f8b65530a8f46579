"""Does a graph answer as the trained network does? Worked out before anything is written."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from PIL import Image

from pneumoscope.core.errors import ExportError, RadiographError
from pneumoscope.data.dataset import Dataset
from pneumoscope.training.bundle_graph import OUTPUTS, BundleModule

MAX_LOGIT_DIFFERENCE = 1e-3
# Of embedding and atypicality, as a share of the largest value: wrong wiring, not rounding.
_MAX_RELATIVE_DIFFERENCE = 1e-2
# Width and height that pictures are resized to, beside their own: large, wide, and tiny.
OTHER_SIZES_PX = ((1400, 1100), (500, 300), (61, 97))
N_PICTURES = 16
_BATCH = 4

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The largest differences between torch and onnxruntime, in fp32 and on the CPU."""

    n: int  # pictures compared, each size of a radiograph being one
    n_radiographs: int
    max_abs_logit: float
    max_abs_probability: float
    max_abs_cam: float  # in logits; a ReLU at the edge may tip, so no limit is set
    n_bytes: int = 0  # of the bundle
    auroc_fp32: float | None = None  # on the tuning split; both are None unless int8 was asked for
    auroc_int8: float | None = None
    auroc_changed: float | None = None  # on the tuning split's changed copies, where there are any


def start_session(model: onnx.ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Return onnxruntime's session for a graph, on the CPU.

    Raises: ExportError: onnxruntime refuses the graph.
    """
    data = model if isinstance(model, bytes) else model.SerializeToString(deterministic=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    options.enable_mem_pattern = False  # one plan is kept for each size of picture, without end
    try:
        return onnxruntime.InferenceSession(
            data, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a dozen classes of its own
        raise ExportError(
            f"onnxruntime {onnxruntime.__version__} can't load the exported graph: {error}"
        ) from error


def check_graph(bundle: onnx.ModelProto, *, map_size_px: tuple[int, int]) -> None:
    """Refuse a bundle whose graph is not what the design says.

    Args:
        bundle: The whole of it.
        map_size_px: Height and width of the class activation map.

    Raises: ExportError: ONNX's checker finds fault; a name, type or shape is wrong; or the graph
        answers differently in a batch, or with values that are not finite.
    """
    try:
        onnx.checker.check_model(bundle, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"ONNX's checker refuses the exported graph: {error}") from error
    session = start_session(bundle)
    names = tuple(output.name for output in session.get_outputs())
    if names != OUTPUTS:
        raise ExportError(f"the exported graph answers {names}, not {OUTPUTS}.")
    for n, height, width in ((1, 33, 57), (3, 40, 20)):
        shapes = {name: (n,) for name in OUTPUTS} | {"cam": (n, *map_size_px)}
        pixels = np.zeros((n, 1, height, width), np.uint8)
        for name, value in run_pixels(session, pixels).items():
            wanted = value.shape if name == "embedding" else shapes[name]
            if value.dtype != np.float32 or value.shape != wanted or len(value) != n:
                raise ExportError(
                    f"the exported graph's {name} is {value.dtype} {value.shape} for {n} pictures, "
                    f"not float32 {wanted}."
                )
            if not np.isfinite(value).all():
                raise ExportError(f"the exported graph's {name} is not finite on a black picture.")


def run_pixels(session: onnxruntime.InferenceSession, pixels: NDArray[np.uint8]) -> Arrays:
    """Return the bundle's answers on pictures (N, 1, H, W), by the outputs' names."""
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"pixels": pixels}), strict=True))


def compare(
    bundle: onnx.ModelProto, module: BundleModule, dataset: Dataset, rows: NDArray[np.int64]
) -> Parity:
    """Compare the bundle with torch on radiographs of their own and of other sizes.

    torch's part does its own resizing, so that the graph's is checked with the rest.

    Args:
        bundle: In fp32, calibrated as the module is.
        module: What the bundle was made of.
        dataset: Where the radiographs are.
        rows: Which to take, in this order: `N_PICTURES` that can be read, or all there are.

    Raises: ExportError: a logit differs by more than `MAX_LOGIT_DIFFERENCE`, an embedding or
        atypicality by more than a hundredth, or no radiograph can be read.
    """
    session = start_session(bundle)
    largest = dict.fromkeys(OUTPUTS, 0.0)
    scale = dict.fromkeys(OUTPUTS, 1.0)
    n = 0
    pictures = _read_some(dataset, rows)
    for pixels in _batches(pictures):
        wanted, found = run_torch(module, pixels), run_pixels(session, pixels)
        n += len(pixels)
        for name in OUTPUTS:
            # NaN anywhere must not slip through max(), for which it is never the larger one.
            difference = float(np.max(np.abs(wanted[name] - found[name])))
            largest[name] = max(largest[name], difference if difference == difference else np.inf)
            scale[name] = max(scale[name], float(np.max(np.abs(wanted[name]))))
    if not largest["logit"] <= MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"on {n} pictures of {dataset.name} the exported graph's logit differs from torch's by "
            f"up to {largest['logit']:.2g}, more than {MAX_LOGIT_DIFFERENCE:g}; no bundle is "
            f"written. Export with other versions of torch and onnxruntime."
        )
    for name in ("embedding", "atypicality"):
        if not largest[name] <= _MAX_RELATIVE_DIFFERENCE * scale[name]:
            raise ExportError(
                f"on {n} pictures of {dataset.name} the exported graph's {name} differs from "
                f"torch's by up to {largest[name]:.2g} (values reach {scale[name]:.2g}); no bundle "
                f"is written. Export with other versions of torch and onnxruntime."
            )
    return Parity(
        n=n,
        n_radiographs=len(pictures),
        max_abs_logit=largest["logit"],
        max_abs_probability=largest["probability"],
        max_abs_cam=largest["cam"],
    )


def run_torch(module: BundleModule, pixels: NDArray[np.uint8]) -> Arrays:
    """Return torch's answers on pictures (N, 1, H, W), by the outputs' names."""
    side = module.network.size_px
    with torch.inference_mode():
        gray = F.interpolate(
            torch.from_numpy(pixels).float(), (side, side), mode="bilinear", antialias=True
        ).div_(255)
        return {name: value.numpy() for name, value in zip(OUTPUTS, module(gray), strict=True)}


def _read_some(dataset: Dataset, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
    """Return the first radiographs that can be read, each (H, W)."""
    pictures: list[NDArray[np.uint8]] = []
    for row in rows:
        if len(pictures) == N_PICTURES:
            break
        try:
            pictures.append(dataset.read(int(row)).pixels)
        except RadiographError:
            continue
    if not pictures:
        raise ExportError(f"{dataset.name}: no radiograph can be read to check the export on.")
    return pictures


def _batches(pictures: list[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield (N, 1, H, W): each picture alone in its own size, then four at once in other sizes."""
    for picture in pictures:
        yield np.ascontiguousarray(picture)[None, None]
    for size in OTHER_SIZES_PX:
        for start in range(0, len(pictures), _BATCH):
            resized = [
                np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
                for picture in pictures[start : start + _BATCH]
            ]
            yield np.stack(resized)[:, None]
