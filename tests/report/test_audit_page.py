import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumoscope.core.errors import StorageError
from pneumoscope.data.audit import audit
from pneumoscope.data.audit_report import StraddlingPatient, Unreadable
from pneumoscope.data.dataset import FileDataset
from pneumoscope.data.manifest import make_manifest
from pneumoscope.report import audit_page
from pneumoscope.report.audit_page import write_audit_page

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """A page's words, and a check that its tags nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self.open_tags: list[str] = []
        self.images: list[dict] = []
        self.feed(self.source)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags[-1:] != ["style"]:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def make_dataset(root: Path, pictures: dict, *, origin: str = "real", **columns) -> FileDataset:
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(root / name, format="PNG")
    n = len(pictures)
    table = {
        "path": list(pictures),
        "target": [i % 2 for i in range(n)],
        "patient_id": [str(i) for i in range(n)],
        "split": ["train"] * n,
        "origin": [origin] * n,
    }
    return FileDataset(make_manifest(table | columns, root=root, name="made"))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 40), dtype=np.uint8)


def write(dataset: FileDataset, folder: Path, **changes) -> Page:
    path = folder / "out" / "audit.html"
    write_audit_page(replace(audit(dataset), **changes), dataset, path)
    return Page(path)


def test_a_clean_dataset_says_so_first(tmp_path: Path) -> None:
    page = write(make_dataset(tmp_path, {f"{i}.png": noise(i) for i in range(3)}), tmp_path)
    assert "No problem found." in page.text
    assert "to mend" not in page.text
    assert page.images == []
    assert page.text.count("Research use only. Not a medical device.") == 2


def test_problems_come_first_with_their_pictures(tmp_path: Path) -> None:
    pictures = {"a.png": noise(0), "b.png": noise(1), "c.png": noise(0)}
    columns = {"split": ["train", "train", "test"], "target": [0, 0, 1]}
    page = write(make_dataset(tmp_path, pictures, **columns), tmp_path)
    assert "2 problems to mend" in page.text
    assert "Duplicates across splits: 1 group" in page.text
    assert "same file across splits two targets different patients" in page.text
    assert [image["alt"] for image in page.images] == ["a.png", "c.png"]
    assert page.text.index("to mend") < page.text.index("What was looked for")


def test_the_page_is_whole_in_itself(tmp_path: Path) -> None:
    pictures = {"a.png": noise(0), "b.png": noise(0), "black.png": np.zeros((40, 40), np.uint8)}
    page = write(make_dataset(tmp_path, pictures), tmp_path)
    assert page.images
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.images)
    assert "http" not in re.sub(r"base64,[^\"]+", "", page.source)
    assert "<link" not in page.source
    assert "<script" not in page.source


def test_names_from_the_dataset_are_text_and_never_markup(tmp_path: Path) -> None:
    name = "<script>alert(1)<&amp;.png"
    dataset = make_dataset(tmp_path, {name.replace("/", ""): noise(0), "b.png": noise(0)})
    page = write(dataset, tmp_path)
    assert "<script" not in page.source
    assert page.images[0]["alt"] == name
    assert name in page.text


def test_many_groups_are_cut_with_the_number_that_is_left_out_and_the_worst_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_page, "MAX_GROUPS", 3)
    monkeypatch.setattr(audit_page, "MAX_PICTURES_PER_GROUP", 2)
    pictures = {f"{i}.png": noise(i // 3) for i in range(15)}  # five groups of three
    split = ["train"] * 14 + ["test"]
    page = write(make_dataset(tmp_path, pictures, split=split), tmp_path)
    assert len(page.images) == 6
    assert page.images[0]["alt"] == "12.png"  # the only group across splits is the last
    assert "and 2 more groups" in page.text
    assert page.text.count("and 1 more") == 3


def test_many_odd_images_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_page, "MAX_PICTURES", 4)
    pictures = {f"{i}.png": np.full((40, 40), i, np.uint8) for i in range(10)}
    page = write(make_dataset(tmp_path, pictures), tmp_path)
    assert len(page.images) == 4
    assert "Constant images: 10 images" in page.text
    assert "and 6 more" in page.text


def test_long_lists_are_cut(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {"a.png": noise(0), "b.png": noise(1)})
    image = (
        audit(make_dataset(tmp_path, {"a.png": noise(0), "c.png": noise(0)}))
        .exact_duplicates[0]
        .images[0]
    )
    page = write(
        dataset,
        tmp_path,
        unreadable=tuple(Unreadable(image=image, reason=f"reason {i}.") for i in range(1060)),
        straddling_patients=tuple(
            StraddlingPatient(patient_id=f"person{i}", splits=("train", "test"), n_images=2)
            for i in range(57)
        ),
    )
    assert "reason 49." in page.text
    assert "reason 50." not in page.text
    assert "and 1,010 more" in page.text
    assert "person49 train, test 2" in page.text
    assert "and 7 more" in page.text


def test_an_image_that_vanished_after_the_audit_leaves_a_gap(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {"a.png": noise(0), "b.png": noise(0)})
    report = audit(dataset)
    (tmp_path / "b.png").unlink()
    write_audit_page(report, dataset, tmp_path / "audit.html")
    page = Page(tmp_path / "audit.html")
    assert [image["alt"] for image in page.images] == ["a.png"]
    assert "no longer readable" in page.text


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("phantom", "Synthetic phantoms, not radiographs: audit of made"),
        ("generated", "Generated images, not radiographs: audit of made"),
        ("real", "Audit of made"),
    ],
)
def test_the_title_says_first_what_the_images_are(tmp_path: Path, origin: str, words: str) -> None:
    pictures = {f"{i}.png": noise(i) for i in range(2)}
    page = write(make_dataset(tmp_path, pictures, origin=origin), tmp_path)
    assert page.text.startswith(words)  # the tab's title comes first
    assert page.text.count(words) == 2  # and the heading


def test_a_page_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {"a.png": noise(0)})
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not written"):
        write_audit_page(audit(dataset), dataset, tmp_path / "file" / "audit.html")


def test_a_search_that_ended_early_is_told(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, {"a.png": noise(0)})
    assert "lower bound" not in write(dataset, tmp_path).text
    assert "lower bound" in write(dataset, tmp_path, is_near_search_complete=False).text
