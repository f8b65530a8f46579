"""The radiographs that ship are the 16 that are named, unchanged, with their attribution."""

import hashlib
from pathlib import Path

from pneumoscope.imaging.read import read_radiograph

FOLDER = Path(__file__).parents[2] / "examples" / "radiographs"
# SHA-256 over the files' own hashes, in the order of their names, as they came from the dataset.
CONTENT = "e9070a17311ef20f52898f70c4684cee7c8a25f3d2d789e4ea305b9ef3be546e"


def pictures() -> list[Path]:
    return sorted(FOLDER.rglob("*.jpeg"))


def test_eight_of_each_class_at_full_resolution() -> None:
    folders = [path.parent.name for path in pictures()]
    assert folders == ["NORMAL"] * 8 + ["PNEUMONIA"] * 8
    for path in pictures():
        radiograph = read_radiograph(path)
        assert min(radiograph.height_px, radiograph.width_px) > 400
        assert not radiograph.is_colour


def test_files_are_the_datasets_own_bytes() -> None:
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures()]
    assert hashlib.sha256("".join(hashes).encode()).hexdigest() == CONTENT


def test_attribution_names_authors_source_and_licence() -> None:
    text = (FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("Kermany", "Zhang", "Goldbaum", "2018", "10.17632/rscbjbr9sj.2", "CC BY 4.0"):
        assert words in text
