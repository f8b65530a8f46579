"""Fetching the public datasets, with stand-ins for Kaggle and Zenodo."""

import functools
import hashlib
import http.server
import importlib
import shutil
import sys
import threading
import types
import zipfile
from pathlib import Path

import pytest

from pneumoscope.core.errors import DownloadError, MissingExtraError, StorageError, UsageError
from pneumoscope.data import fetch as fetch_module
from pneumoscope.data.fetch import fetch

COUNTS = {
    "train/NORMAL": 5,
    "train/PNEUMONIA": 7,
    "val/NORMAL": 1,
    "val/PNEUMONIA": 1,
    "test/NORMAL": 2,
    "test/PNEUMONIA": 3,
}


@pytest.fixture
def small(monkeypatch):
    """Let a Kermany set of 19 files count as whole."""
    monkeypatch.setattr(fetch_module, "_COUNTS", COUNTS)


def fill(root: Path) -> None:
    """Write the class folders, as Kaggle has them."""
    for name, count in COUNTS.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.jpeg").write_bytes(f"{name} {number}".encode())
        (root / name / ".DS_Store").write_bytes(b"a Mac was here")
        (root / name / "._0.jpeg").write_bytes(b"and here")


def make_kaggle_tree(root: Path) -> Path:
    """Write what kagglehub leaves: the set, the set again, and a Mac's shadow of it."""
    fill(root / "chest_xray")
    fill(root / "chest_xray" / "chest_xray")
    for name in COUNTS:
        for shadow in (root / "__MACOSX", root / "chest_xray" / "__MACOSX" / "chest_xray"):
            (shadow / name).mkdir(parents=True)
            (shadow / name / "._0.jpeg").write_bytes(b"no image")
    return root


def make_kaggle_zip(path: Path, tmp_path: Path) -> Path:
    tree = make_kaggle_tree(tmp_path / "tree")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, file.relative_to(tree))
    return path


def expected_tree() -> dict[str, bytes]:
    return {
        f"{name}/{number}.jpeg": f"{name} {number}".encode()
        for name, count in COUNTS.items()
        for number in range(count)
    }


def read_tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """Replace kagglehub by a module that returns a tree it has "downloaded"."""
    module = types.ModuleType("kagglehub")
    module.asked = []
    module.tree = make_kaggle_tree(tmp_path / "kaggle-cache")

    def dataset_download(handle):
        module.asked.append(handle)
        return str(module.tree)

    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return module


def test_kermany_becomes_the_six_class_folders(kaggle, small, tmp_path):
    path = fetch("kermany", tmp_path / "data")
    assert path == tmp_path / "data" / "chest_xray"
    assert kaggle.asked == ["paultimothymooney/chest-xray-pneumonia"]
    assert read_tree(path) == expected_tree()
    assert sorted(child.name for child in path.parent.iterdir()) == [
        "chest_xray",
        "chest_xray-ATTRIBUTION.txt",
    ]


def test_what_is_there_and_whole_is_not_fetched_again(kaggle, small, tmp_path):
    fetch("kermany", tmp_path / "data")
    assert fetch("kermany", tmp_path / "data") == tmp_path / "data" / "chest_xray"
    assert len(kaggle.asked) == 1


def test_what_is_there_and_not_whole_is_left_alone(kaggle, small, tmp_path):
    fill(tmp_path / "data" / "chest_xray")
    (tmp_path / "data" / "chest_xray" / "test" / "NORMAL" / "1.jpeg").unlink()
    before = read_tree(tmp_path / "data")
    with pytest.raises(StorageError, match=r"test/NORMAL has 1 images of 2\). Move it away"):
        fetch("kermany", tmp_path / "data")
    assert read_tree(tmp_path / "data") == before
    assert kaggle.asked == []


def test_attribution_has_authors_licence_and_doi(kaggle, small, tmp_path):
    fetch("kermany", tmp_path / "data")
    text = (tmp_path / "data" / "chest_xray-ATTRIBUTION.txt").read_text()
    for part in ("Kermany", "CC BY 4.0", "10.17632/rscbjbr9sj.2", "Mendeley Data, V2"):
        assert part in text


def test_kermany_from_a_zip_by_hand(small, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # not installed, and not needed
    archive = make_kaggle_zip(tmp_path / "archive.zip", tmp_path)
    path = fetch("kermany", tmp_path / "data", archive=archive)
    assert read_tree(path) == expected_tree()
    assert sorted(child.name for child in path.parent.iterdir()) == [
        "chest_xray",
        "chest_xray-ATTRIBUTION.txt",
    ]


def test_a_copy_does_where_a_link_cannot(kaggle, small, tmp_path, monkeypatch):
    def cannot(*args):
        raise OSError("another file system")

    monkeypatch.setattr("os.link", cannot)
    assert read_tree(fetch("kermany", tmp_path / "data")) == expected_tree()


def test_an_archive_that_escapes_leaves_nothing(small, tmp_path):
    archive = make_kaggle_zip(tmp_path / "archive.zip", tmp_path)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("../../evil.txt", b"evil")
    with pytest.raises(DownloadError, match="outside the folder"):
        fetch("kermany", tmp_path / "data", archive=archive)
    assert list((tmp_path / "data").iterdir()) == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_incomplete_set_is_refused(kaggle, small, tmp_path):
    (kaggle.tree / "chest_xray" / "train" / "PNEUMONIA" / "3.jpeg").unlink()
    with pytest.raises(DownloadError, match=r"kaggle-cache.*train/PNEUMONIA has 6 images of 7"):
        fetch("kermany", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_another_dataset_is_refused(kaggle, small, tmp_path):
    shutil.rmtree(kaggle.tree)
    (kaggle.tree / "something" / "else").mkdir(parents=True)
    with pytest.raises(DownloadError, match="no train, val and test"):
        fetch("kermany", tmp_path / "data")


def test_the_real_set_has_the_counts_of_its_description():
    # Kermany et al. with Kaggle's split: 5,856 radiographs, 16 of them val, 624 test.
    counts = fetch_module._COUNTS
    assert sum(counts.values()) == 5856
    assert counts["test/NORMAL"] + counts["test/PNEUMONIA"] == 624
    assert counts["train/NORMAL"] + counts["val/NORMAL"] + counts["test/NORMAL"] == 1583


@pytest.mark.parametrize("error", [ConnectionError("no route"), RuntimeError(), ValueError("403")])
def test_kaggles_errors_say_how_else_to_get_it(kaggle, small, tmp_path, error):
    def fail(handle):
        raise error

    kaggle.dataset_download = fail
    with pytest.raises(DownloadError, match=r"could not download.*by hand.*--archive") as caught:
        fetch("kermany", tmp_path / "data")
    assert (str(error) or "RuntimeError") in str(caught.value)
    assert caught.value.__cause__ is error


def test_without_kagglehub_both_ways_are_named(small, tmp_path, monkeypatch):
    def missing(name, *args):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pneumoscope\[train\](.|\n)*by hand"):
        fetch("kermany", tmp_path / "data")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Serve files that stand for MedMNIST's, under its names, with their own sums."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "mirror").mkdir()
    table = {}
    for name, (file_name, _) in fetch_module._MEDMNIST.items():
        content = f"the file {file_name}".encode()
        (tmp_path / "mirror" / file_name).write_bytes(content)
        table[name] = (file_name, hashlib.md5(content).hexdigest())
    monkeypatch.setattr(fetch_module, "_MEDMNIST", table)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "mirror")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}/"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("pneumoniamnist", "pneumoniamnist.npz"),
        ("pneumoniamnist-64", "pneumoniamnist_64.npz"),
        ("pneumoniamnist-128", "pneumoniamnist_128.npz"),
        ("pneumoniamnist-224", "pneumoniamnist_224.npz"),
    ],
)
def test_medmnist_brings_one_file_and_its_attribution(mirror, tmp_path, name, file_name):
    path = fetch(name, tmp_path / "data", base_url=mirror)
    assert path == tmp_path / "data" / file_name
    assert path.read_bytes() == f"the file {file_name}".encode()
    text = (tmp_path / "data" / f"{path.stem}-ATTRIBUTION.txt").read_text()
    assert "MedMNIST v2" in text
    assert "10.17632/rscbjbr9sj.2" in text


def test_medmnist_with_a_wrong_sum_is_refused(mirror, tmp_path):
    (tmp_path / "mirror" / "pneumoniamnist_64.npz").write_bytes(b"changed")
    with pytest.raises(DownloadError, match="not what was asked for"):
        fetch("pneumoniamnist-64", tmp_path / "data", base_url=mirror)
    left = {path.name for path in (tmp_path / "data").glob("*.npz*")}
    assert left == {"pneumoniamnist_64.npz.part.lock"}  # empty; another process may hold it


def test_medmnist_asks_zenodo_for_what_its_package_lists(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        fetch_module, "download", lambda url, path, *, md5: asked.append((url, path.name, md5))
    )
    fetch("pneumoniamnist-128", tmp_path)
    # medmnist 3.0.2, info.py: "url_128" and "MD5_128" of "pneumoniamnist"
    assert asked == [
        (
            "https://zenodo.org/records/10519652/files/pneumoniamnist_128.npz?download=1",
            "pneumoniamnist_128.npz",
            "05b46931834c231683c68f40c47b2971",
        )
    ]


def test_medmnist_from_a_file_by_hand(mirror, tmp_path):
    by_hand = tmp_path / "mirror" / "pneumoniamnist_64.npz"
    path = fetch("pneumoniamnist-64", tmp_path / "data", archive=by_hand)
    assert path.read_bytes() == by_hand.read_bytes()
    assert fetch("pneumoniamnist-64", tmp_path / "data", archive=path) == path
    with pytest.raises(DownloadError, match="its MD5 is"):
        fetch("pneumoniamnist-128", tmp_path / "data", archive=by_hand)
    with pytest.raises(DownloadError, match="can't be read"):
        fetch("pneumoniamnist-128", tmp_path / "data", archive=tmp_path / "missing.npz")


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such dataset"):
        fetch("chexpert", tmp_path)
    with pytest.raises(UsageError, match="no mirror"):
        fetch("kermany", tmp_path, base_url="http://127.0.0.1")
