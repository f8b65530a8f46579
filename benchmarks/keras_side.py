"""Keras' side: `gray-150` as its source wrote it, in the environment that Keras has of its own.

Run as ``.venv-keras/bin/python -m benchmarks.keras_side PIECE ...``. Nothing of the project but
`benchmarks.piece` is imported here, and Keras only once a piece runs.
"""

import argparse
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks.piece import add_clock_arguments, clock_from, report

_STARTED_S = time.perf_counter()  # before Keras is imported
SIZE_PX = 150
BATCH_SIZE = 32
LEARNING_RATE = 0.001
N_PARAMETERS = 1_246_401  # a network with another number is another network
# (filters, dropout) of each block; the same, in Keras' words, as the recipe gray-150 has.
BLOCKS = ((32, 0.0), (64, 0.1), (64, 0.0), (128, 0.2), (256, 0.2))
AUGMENTATION = {
    "rotation_range": 30,
    "zoom_range": 0.2,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "horizontal_flip": True,
}
PLATEAU = {"monitor": "val_accuracy", "factor": 0.3, "patience": 2, "min_lr": 1e-6}


def build_model(*, precision: str, is_compiled_by_xla: bool) -> Any:
    """Return the compiled model.

    Args:
        precision: "fp32" or "bf16" (Keras' ``mixed_bfloat16``).
        is_compiled_by_xla: True leaves ``jit_compile`` at its default, which is XLA here.

    Raises: SystemExit: the network does not have the recipe's number of parameters.
    """
    import keras
    from keras import layers

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bf16" else "float32")
    stack = [keras.Input((SIZE_PX, SIZE_PX, 1))]
    for filters, dropout in BLOCKS:
        stack.append(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        if dropout:
            stack.append(layers.Dropout(dropout))
        stack += [layers.BatchNormalization(), layers.MaxPooling2D(2, padding="same")]
    stack += [
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        # fp32 whatever the policy, as Keras' guide to mixed precision asks of an output.
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]
    model = keras.Sequential(stack)
    if model.count_params() != N_PARAMETERS:
        raise SystemExit(f"{model.count_params():,} parameters, not {N_PARAMETERS:,}")
    model.compile(
        optimizer=keras.optimizers.RMSprop(LEARNING_RATE),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile="auto" if is_compiled_by_xla else False,
    )
    return model


def measure_step(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time `fit` on arrays held in memory, without augmentation."""
    import keras
    import numpy as np

    model = build_model(precision=arguments.precision, is_compiled_by_xla=arguments.xla)
    n_images = (arguments.warm_up + arguments.steps) * BATCH_SIZE
    rng = np.random.default_rng(0)
    pixels = rng.random((n_images, SIZE_PX, SIZE_PX, 1), dtype=np.float32)
    target = (np.arange(n_images) % 2).astype(np.float32)
    clock = clock_from(arguments)

    def end_step(batch: int, logs: object) -> None:
        model.stop_training = clock.tick()

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=end_step)
    model.fit(pixels, target, batch_size=BATCH_SIZE, epochs=1, verbose=0, callbacks=[callback])
    return clock.figures(BATCH_SIZE) | {
        "precision": arguments.precision,
        "n_parameters": model.count_params(),
    }


def measure_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train from JPEG files: each decoded and augmented anew in every epoch, as the source did."""
    import keras

    # Keras 3's own public name for it; the source wrote keras.preprocessing.image.
    from keras._tf_keras.keras.preprocessing.image import ImageDataGenerator

    model = build_model(precision=arguments.precision, is_compiled_by_xla=arguments.xla)
    flow: dict[str, Any] = {
        "target_size": (SIZE_PX, SIZE_PX),
        "color_mode": "grayscale",
        "class_mode": "binary",
        "batch_size": BATCH_SIZE,
    }
    training = ImageDataGenerator(rescale=1 / 255, **AUGMENTATION).flow_from_directory(
        arguments.data / "train", seed=0, **flow
    )
    tuning = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        arguments.data / "val", shuffle=False, **flow
    )
    started_s = time.perf_counter()
    history = model.fit(
        training,
        validation_data=tuning,
        epochs=arguments.epochs,
        verbose=0,
        callbacks=[keras.callbacks.ReduceLROnPlateau(**PLATEAU)],
    ).history
    training_s = time.perf_counter() - started_s
    arguments.out.mkdir(parents=True, exist_ok=True)
    model.save(arguments.out / "model.keras")
    return {
        "n_training": training.samples,
        "n_tuning": tuning.samples,
        "epochs": len(history["loss"]),
        "fit_s": training_s,
        "tuning_accuracy": history["val_accuracy"],
        "precision": arguments.precision,
    }


def measure_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Answer one file after another as the sources' pages do: `load_img`, then `predict`."""
    model = build_model(precision=arguments.precision, is_compiled_by_xla=arguments.xla)
    clock = clock_from(arguments)
    for path in sorted(arguments.folder.iterdir()):
        _answer(model, path)
        if clock.tick():
            break
    return clock.figures(1)


def measure_first(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time the first answer of a process: imports, network, picture. No saved weights are read."""
    model = build_model(precision=arguments.precision, is_compiled_by_xla=arguments.xla)
    _answer(model, next(iter(sorted(arguments.folder.iterdir()))))
    return {"first_answer_s": time.perf_counter() - _STARTED_S}


def _answer(model: Any, path: Path) -> float:
    """Return the probability for one file."""
    import keras
    import numpy as np

    picture = keras.utils.load_img(path, color_mode="grayscale", target_size=(SIZE_PX, SIZE_PX))
    pixels = keras.utils.img_to_array(picture) / 255
    return float(model.predict(np.expand_dims(pixels, 0), verbose=0)[0, 0])


def describe_versions() -> dict[str, str]:
    """Return the versions of what Keras' figures depend on."""
    names = ("keras", "tensorflow-cpu", "numpy", "pillow", "scipy")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def main() -> None:
    """Run one piece and report it."""
    parser = argparse.ArgumentParser(description=__doc__)
    pieces = parser.add_subparsers(required=True)
    step = pieces.add_parser("step")
    add_clock_arguments(step)
    step.set_defaults(measure=measure_step)
    run = pieces.add_parser("run")
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--epochs", type=int, required=True)
    run.set_defaults(measure=measure_run)
    files = pieces.add_parser("files")
    add_clock_arguments(files)
    files.set_defaults(measure=measure_files)
    first = pieces.add_parser("first")
    first.set_defaults(measure=measure_first)
    for piece in (files, first):
        piece.add_argument("--folder", type=Path, required=True)
    for piece in (step, run, files, first):
        piece.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
        piece.add_argument("--no-xla", dest="xla", action="store_false")
        piece.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
    _use_threads(arguments.threads)
    report(arguments.measure(arguments) | {"versions": describe_versions()})


def _use_threads(n_threads: int) -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(n_threads)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)


if __name__ == "__main__":
    main()
