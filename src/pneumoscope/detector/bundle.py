"""Open a bundle: check every byte and name of it, then answer with onnxruntime alone."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from pneumoscope.core.errors import BundleError
from pneumoscope.detector.card import BUNDLE_SCHEMA, METADATA_KEY, BundleCard
from pneumoscope.detector.graph_file import read_graph_file

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SHIPPED_BUNDLE: Final = Path(__file__).parents[1] / "bundles" / "pneumoscope-1.onnx"
MAX_BUNDLE_BYTES: Final = 1 << 29  # the shipped one has 25 MB at most
INPUT_NAME: Final = "pixels"
OUTPUT_RANKS: Final = {"logit": 1, "probability": 1, "cam": 3, "embedding": 2, "atypicality": 1}


class Answer(NamedTuple):
    """What the graph returns for N radiographs; all float32."""

    logit: NDArray[np.float32]  # (N,), uncalibrated
    probability: NDArray[np.float32]  # (N,), calibrated
    cam: NDArray[np.float32]  # (N, h, w), evidence in logit units
    embedding: NDArray[np.float32]  # (N, D)
    atypicality: NDArray[np.float32]  # (N,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An open bundle. Any number of threads may call `run` at once."""

    path: Path
    sha256: str
    card: BundleCard
    _session: "InferenceSession" = field(repr=False)

    @property
    def identity(self) -> dict[str, str]:
        """Which bundle gave an answer: its name, version and hash."""
        return {"name": self.card.name, "version": self.card.version, "sha256": self.sha256}

    def run(self, pixels: NDArray[np.uint8]) -> Answer:
        """Return what the graph says of N radiographs of one size.

        Args:
            pixels: (N, 1, H, W), display values, larger is brighter.

        Raises:
            ValueError: ``pixels`` has another shape or type, or is empty.
            BundleError: the graph fails, or its answer is not finite or of another shape.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 1 or not pixels.size:
            raise ValueError(f"pixels is {pixels.dtype} {pixels.shape}, not uint8 (N, 1, H, W)")
        try:
            arrays = self._session.run(list(OUTPUT_RANKS), {INPUT_NAME: pixels})
        except Exception as error:  # onnxruntime has a dozen classes of its own
            raise BundleError(
                f"{self.path}: its graph failed on {pixels.shape[3]} x {pixels.shape[2]} pixels "
                f"({_first_line(error)}). Free some memory, or export the bundle again."
            ) from error
        answer = Answer(*arrays)
        for (name, rank), array in zip(OUTPUT_RANKS.items(), answer, strict=True):
            if array.ndim != rank or len(array) != len(pixels) or not np.isfinite(array).all():
                raise BundleError(
                    f"{self.path}: its answer {name!r} has the shape {array.shape} or values that "
                    f"are not finite. Export the bundle again from its run."
                )
        return answer


def open_bundle(path: Path | None = None, *, n_threads: int = 1) -> Bundle:
    """Open a bundle and check it: hash, schema, names, shapes, and that it is one file.

    The hash is that of ``NAME.onnx.sha256`` beside it, where there is one; the shipped bundle
    always has one.

    Args:
        path: The ``.onnx`` file; None is the bundle that ships with the package.
        n_threads: Threads that share one radiograph. Leave 1 where several threads call `run`.

    Raises: BundleError: it is missing, damaged, changed, too new, or not a bundle.
    """
    is_shipped = path is None
    path = SHIPPED_BUNDLE if path is None else path
    data = _read(path, is_shipped=is_shipped)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_hash(path, sha256, must_exist=is_shipped)
    try:
        graph = read_graph_file(data)
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise BundleError(
            f"{path}: is cut short, damaged, or not an ONNX file ({error}). "
            "Copy it again from where it came."
        ) from error
    card = _read_card(path, graph.metadata)
    if graph.points_outside:
        raise BundleError(
            f"{path}: keeps some weights in another file, and a bundle is one file that points at "
            "no other. Export it again with: pneumoscope export RUN --out FILE"
        )
    session = _start(path, data, n_threads=n_threads)
    _check_signature(path, session)
    return Bundle(path=path, sha256=sha256, card=card, _session=session)


def _read(path: Path, *, is_shipped: bool) -> bytes:
    if is_shipped and not path.is_file():
        raise BundleError(
            f"{path}: no bundle ships with this installation. Name one: --bundle FILE at a shell, "
            "pneumoscope.load(FILE) in Python; or install pneumoscope again."
        )
    try:
        if path.is_dir():
            raise BundleError(
                f"{path}: is a folder, and a bundle is one .onnx file. Name the file, such as "
                f"{path / 'bundle.onnx'}, or write it with: pneumoscope export RUN --out FILE"
            )
        if (size := path.stat().st_size) > MAX_BUNDLE_BYTES:
            raise BundleError(
                f"{path}: has {size:,} bytes, more than the {MAX_BUNDLE_BYTES:,} that a bundle may "
                "have. Check that it is the right file."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{path}: does not exist. Check the path, or write a bundle with: "
            "pneumoscope export RUN --out FILE"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise BundleError(
            f"{path}: cannot be read ({reason}). Check the path and its permissions."
        ) from error


def _check_hash(path: Path, sha256: str, *, must_exist: bool) -> None:
    beside = path.with_name(path.name + ".sha256")
    try:
        words = beside.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        if must_exist:
            raise BundleError(
                f"{beside}: is missing, and the shipped bundle is not used unchecked. "
                "Install pneumoscope again."
            ) from None
        return
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{beside}: cannot be read, so the bundle cannot be checked. Mend or remove it."
        ) from error
    expected = words[0].lower() if words else ""
    if expected != sha256:
        raise BundleError(
            f"{path}: was changed or damaged: its SHA-256 is {sha256[:12]}..., and {beside.name} "
            f"says {expected[:12] or 'nothing'}. Copy both again from where they came."
        )


def _read_card(path: Path, metadata: dict[str, str]) -> BundleCard:
    if METADATA_KEY not in metadata:
        raise BundleError(
            f"{path}: is not a Pneumoscope bundle: its metadata lacks the key {METADATA_KEY!r}. "
            "Write one with: pneumoscope export RUN --out FILE"
        )
    try:
        value: Any = json.loads(metadata[METADATA_KEY])
        # Before all else, because a newer card may lack what this version requires.
        schema = value.get("schema_version") if isinstance(value, dict) else None
        if isinstance(schema, int) and schema > BUNDLE_SCHEMA:
            raise BundleError(
                f"{path}: has schema {schema}, and this version of pneumoscope reads up to "
                f"{BUNDLE_SCHEMA}. Upgrade with: pip install --upgrade pneumoscope"
            )
        return BundleCard.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'the card'}: {first['msg']}"
    except (ValueError, RecursionError) as error:  # not JSON, or nested without end
        reason = _first_line(error)
    raise BundleError(
        f"{path}: its card is wrong ({reason}). Export the bundle again from its run."
    )


def _start(path: Path, data: bytes, *, n_threads: int) -> "InferenceSession":
    # Here, not above: the command line says what is wrong with its words before this loads.
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    # Memory stays flat: no plan is kept for each size of picture, and what one large picture needed
    # goes back to the system. Neither costs measurable time.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    # The other format that onnxruntime would read from these bytes was not looked into above.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            data, sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a dozen classes of its own
        raise BundleError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot load it "
            f"({_first_line(error)}). Export it again, or upgrade onnxruntime."
        ) from error


def _check_signature(path: Path, session: "InferenceSession") -> None:
    """Refuse other names, types or shapes. Outputs that a later version adds are read over."""
    inputs = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    outputs = {each.name: (each.type, each.shape) for each in session.get_outputs()}
    fault = ""
    if set(inputs) != {INPUT_NAME}:
        fault = f"its inputs are {sorted(inputs)}, not {INPUT_NAME!r} alone"
    elif not _is_pixels(*inputs[INPUT_NAME]):
        kind, shape = inputs[INPUT_NAME]
        fault = f"its input {INPUT_NAME!r} is {kind} {shape}, not uint8 (N, 1, H, W) of any size"
    elif missing := sorted(set(OUTPUT_RANKS) - set(outputs)):
        fault = f"it lacks the output {', '.join(missing)}"
    else:
        for name, rank in OUTPUT_RANKS.items():
            kind, shape = outputs[name]
            if kind != "tensor(float)" or len(shape) != rank or isinstance(shape[0], int):
                fault = f"its output {name!r} is {kind} {shape}, not float32 with {rank} axes"
                break
    if fault:
        raise BundleError(
            f"{path}: is not a bundle of schema {BUNDLE_SCHEMA}: {fault}. "
            "Write one with: pneumoscope export RUN --out FILE"
        )


def _is_pixels(kind: str, shape: list[int | str | None]) -> bool:
    if kind != "tensor(uint8)" or len(shape) != 4 or shape[1] != 1:
        return False
    return not any(isinstance(shape[axis], int) for axis in (0, 2, 3))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:200] or type(error).__name__
