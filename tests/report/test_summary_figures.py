import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.data.dataset import FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.data.summary import summarise
from pneumoscope.report.summary_figures import (
    describe_origin,
    draw_class_counts,
    draw_samples,
    write_summary_figures,
)


def make_dataset(root: Path, rows: list[tuple], *, origin: str = "real") -> FileDataset:
    """Make a dataset of rows (target, split); image i has the gray level 10 i."""
    for index in range(len(rows)):
        picture = Image.fromarray(np.full((20, 20), 10 * index % 256, dtype=np.uint8))
        picture.save(root / f"{index}.png")
    columns = {
        "path": [f"{i}.png" for i in range(len(rows))],
        "target": [target for target, _ in rows],
        "patient_id": [str(i) for i in range(len(rows))],
        "split": [split for _, split in rows],
        "subtype": ["viral" if target == 1 else None for target, _ in rows],
        "origin": [origin] * len(rows),
    }
    return FileDataset(make_manifest(columns, root=root, name="made"))


ROWS = [(0, "train")] * 5 + [(1, "train")] * 9 + [(0, "test")] * 2 + [(1, "test")] * 3


def tiles(figure) -> list[tuple[str, int]]:
    """Return each tile's title and the gray level of its first pixel."""
    return [
        (axes.get_title(), int(axes.images[0].get_array()[0, 0]))
        for axes in figure.axes
        if axes.images
    ]


def test_the_bars_are_the_counts(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, ROWS)
    axes = draw_class_counts(summarise(dataset, read_sizes=False)).axes[0]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"Normal": [5, 2], "Pneumonia": [9, 3]}
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["train\n14 images", "test\n5 images"]
    assert axes.get_title(loc="left") == "made: images by split and class"


def test_unknown_targets_have_their_own_bar(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, [*ROWS, (None, "test")])
    axes = draw_class_counts(summarise(dataset, read_sizes=False)).axes[0]
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights["Unknown"] == [0, 1]


def test_samples_are_of_the_class_that_their_title_says(tmp_path: Path) -> None:
    found = tiles(draw_samples(make_dataset(tmp_path, ROWS), n_per_class=6))
    # All the normal ones of train, then six of the others.
    assert [title for title, _ in found] == ["Normal"] * 5 + ["Pneumonia (viral)"] * 6
    for title, level in found:
        target, split = ROWS[level // 10]
        assert split == "train"
        assert title == ("Pneumonia (viral)" if target else "Normal")
    assert len(set(found)) == len(found)


def test_the_seed_chooses_the_samples(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, ROWS)
    assert tiles(draw_samples(dataset, seed=1)) == tiles(draw_samples(dataset, seed=1))
    assert tiles(draw_samples(dataset, seed=1)) != tiles(draw_samples(dataset, seed=2))


def test_unreadable_samples_are_passed_over(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, [(0, "train")] * 3 + [(1, "train")] * 3)
    (tmp_path / "1.png").write_bytes(b"damaged")
    (tmp_path / "5.png").unlink()
    assert sorted(level // 10 for _, level in tiles(draw_samples(dataset))) == [0, 2, 3, 4]


def test_one_class_or_nothing_readable_still_gives_a_figure(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, [(1, "test")] * 2)
    assert [title for title, _ in tiles(draw_samples(dataset))] == ["Pneumonia (viral)"] * 2
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").unlink()
    figure = draw_samples(dataset)
    assert tiles(figure) == []
    assert "none could be read" in figure.get_suptitle()


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, ROWS)
    summary = summarise(dataset)
    first = write_summary_figures(summary, dataset, tmp_path / "a", seed=3)
    second = write_summary_figures(summary, dataset, tmp_path / "b", seed=3)
    assert [path.name for path in first] == ["class-counts.png", "samples.png"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert Image.open(io.BytesIO(one.read_bytes())).format == "PNG"


@pytest.mark.parametrize("origin", ["phantom", "generated"])
def test_titles_say_first_that_images_are_no_radiographs(tmp_path: Path, origin: str) -> None:
    dataset = make_dataset(tmp_path, ROWS, origin=origin)
    counts = draw_class_counts(summarise(dataset, read_sizes=False))
    first = {"phantom": "Synthetic phantoms", "generated": "Generated images"}[origin]
    for title in (counts.axes[0].get_title(loc="left"), draw_samples(dataset).get_suptitle()):
        assert title.startswith(f"{first}, not radiographs\nmade: ")


@pytest.mark.parametrize(
    ("origins", "words"),
    [
        (["real"], ""),
        (["phantom"], "Synthetic phantoms, not radiographs"),
        (["generated", "real"], "Mixed generated images and radiographs"),
        (["generated", "phantom"], "Mixed synthetic phantoms and generated images, no radiographs"),
    ],
)
def test_words_for_origins(origins: list[str], words: str) -> None:
    assert describe_origin(origins) == words


def test_a_file_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, ROWS)
    manifest = dataset.manifest
    odd = FileDataset(type(manifest)(manifest.table, manifest.root, r"cost $\frac$"))
    write_summary_figures(summarise(odd), odd, tmp_path / "out")


def test_pyplot_and_its_windows_stay_out(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from pneumoscope.data.open import open_dataset\n"
        "from pneumoscope.data.summary import summarise\n"
        "from pneumoscope.report.summary_figures import write_summary_figures\n"
        "d = open_dataset(pathlib.Path(sys.argv[1]))\n"
        "assert 'matplotlib' not in sys.modules\n"
        "write_summary_figures(summarise(d), d, pathlib.Path(sys.argv[2]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    dataset = make_dataset(tmp_path, [(0, "train"), (1, "train")])
    dataset.manifest.table.write_csv(tmp_path / "manifest.csv")
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
