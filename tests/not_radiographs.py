"""Pictures that are not chest radiographs, as gray arrays; nothing is downloaded.

`collect` gives distinct pictures: photographs and scans that come inside the wheels of
scikit-image, matplotlib and scikit-learn (SciPy's wheel has none: `scipy.datasets` downloads),
other modalities among pydicom's own test files, and drawings, plots, text, noise and plain gray
made here. A picture's `source` tells which others are its kin, such as slices of one series;
`vary` turns and crops pictures: more of them, but of the same sources.

Load it with ``runpy.run_path``: tests are no package.
"""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.cbook
import matplotlib.figure
import numpy as np
import pydicom
import skimage.data
import sklearn.datasets
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.pixels import apply_color_lut

from pneumoscope.core.errors import RadiographError
from pneumoscope.imaging.read import read_radiograph

Gray = NDArray[np.uint8]
_SIZE = 400
_SMALLEST_PX = 10
_TEXT = (
    "The quick brown fox jumps over the lazy dog while seven wizards box; 0123456789. "
    "Pack my box with five dozen liquor jugs, and tell nobody how vexingly zebras leap. "
)


class Picture(NamedTuple):
    name: str
    source: str  # pictures of one source show the same thing
    pixels: Gray  # (H, W)


def collect() -> list[Picture]:
    """Return the pictures, each once: of two with equal pixels, the first."""
    seen: set[bytes] = set()
    pictures = []
    for kind in (_scikit_image, _matplotlib, _scikit_learn, _dicom, _drawings, _plots, _noise):
        for name, pixels in kind():
            content = np.asarray(pixels.shape).tobytes() + pixels.tobytes()
            if content not in seen:
                seen.add(content)
                title = f"{kind.__name__[1:]}/{name}"
                pictures.append(Picture(title, _source(title), pixels))
    return pictures


def _source(title: str) -> str:
    """Return what a picture shares with others: its series, or the rule that drew it."""
    if "dicomdirtests" in title:
        return title.rpartition("/")[0]  # slices of one series
    for several in ("JPEGLSNearLossless", "checkerboard", "text-", "plain", "lfw", "normal"):
        if f"/{several}" in title:
            return several
    return title


def vary(picture: Picture) -> list[Picture]:
    """Return a quarter turn, a negative, and the middle quarter of a picture; same source."""
    pixels = picture.pixels
    height, width = pixels.shape
    varied = {
        "turned": np.rot90(pixels).copy(),
        "negative": 255 - pixels,
        "middle": pixels[height // 4 : -(height // 4), width // 4 : -(width // 4)],
    }
    return [Picture(f"{picture.name} {how}", picture.source, new) for how, new in varied.items()]


def _gray(image: Image.Image) -> Gray:
    if image.mode == "P":
        image = image.convert("RGBA")
    if image.mode in ("RGBA", "LA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("L"))


def _spread(values: NDArray[np.generic]) -> Gray:
    """Return any array's values stretched over 0 to 255."""
    real = np.nan_to_num(values.astype(np.float64))
    return np.round(255 * (real - real.min()) / max(np.ptp(real), 1e-9)).astype(np.uint8)


def _scikit_image() -> Iterator[tuple[str, Gray]]:
    folder = Path(skimage.__file__).parent / "data"
    left_out = ("chessboard_RGB", "motorcycle_right", "multipage_rgb")  # another one again
    for path in sorted(folder.iterdir()):
        if path.suffix in (".png", ".jpg", ".gif", ".tif") and path.stem not in left_out:
            with Image.open(path) as image:
                yield path.stem, _gray(image)
    faces = np.load(folder / "lfw_subset.npy")  # (200, 25, 25): faces, then things that are none
    for index in (0, 40, 80, 120, 160):
        yield f"lfw-{index}", _spread(faces[index])


def _matplotlib() -> Iterator[tuple[str, Gray]]:
    for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png"):
        with matplotlib.cbook.get_sample_data(name) as file, Image.open(file) as image:
            yield name, _gray(image)
    with matplotlib.cbook.get_sample_data("s1045.ima.gz") as file:  # MR of a head
        yield "s1045", _spread(np.frombuffer(file.read(), np.uint16).reshape(256, 256))
    for name, key in (("jacksboro_fault_dem.npz", "elevation"), ("topobathy.npz", "topo")):
        yield name, _spread(matplotlib.cbook.get_sample_data(name)[key])


def _scikit_learn() -> Iterator[tuple[str, Gray]]:
    for name in ("china.jpg", "flower.jpg"):
        yield name, _gray(Image.fromarray(sklearn.datasets.load_sample_image(name)))
    digits = sklearn.datasets.load_digits().images
    yield (
        "digits",
        _spread(np.concatenate(np.concatenate(digits[:400].reshape(20, 20, 8, 8), 1), 1)),
    )


def _dicom() -> Iterator[tuple[str, Gray]]:
    """CT, MR, nuclear medicine, neck radiographs; and ultrasound, which is in colour."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix in (".gz", ".json", ".txt"):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                pixels = read_radiograph(path, any_modality=True).pixels
        except RadiographError:
            continue
        if min(pixels.shape) >= _SMALLEST_PX:
            yield path.relative_to(folder).as_posix(), pixels
    for name in ("examples_rgb_color.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_rle.dcm"):
        yield name, _gray(Image.fromarray(pydicom.dcmread(folder / name).pixel_array))
    palette = pydicom.dcmread(folder / "examples_palette.dcm")
    colour = apply_color_lut(palette.pixel_array, palette)
    yield "examples_palette.dcm", _gray(Image.fromarray((colour >> 8).astype(np.uint8)))


def _drawings() -> Iterator[tuple[str, Gray]]:
    y, x = np.mgrid[:_SIZE, :_SIZE] / _SIZE
    radius = np.hypot(x - 0.5, y - 0.5)
    yield "gradient-across", _spread(x)
    yield "gradient-down", _spread(y)
    yield "gradient-round", _spread(radius)
    yield "rings", _spread(np.sin(60 * radius))
    yield "waves", _spread(np.sin(40 * x) + np.cos(25 * y))
    yield "bars", _spread(np.floor(8 * x))
    yield "half", _spread(x > 0.5)
    for cells in (4, 16, 50):
        yield f"checkerboard-{cells}", _spread((np.floor(cells * x) + np.floor(cells * y)) % 2)
    angle = np.arctan2(y - 0.5, x - 0.5)
    yield "spiral", _spread(np.sin(50 * radius + angle))
    yield "star", _spread(radius < 0.3 + 0.1 * np.cos(5 * angle))
    yield "moire", _spread(np.sin(90 * radius) + np.sin(90 * np.hypot(x - 0.6, y - 0.5)))
    yield "hatching", _spread(np.sin(120 * (x + y)) > 0.6)
    yield "mandelbrot", _mandelbrot(3 * x - 2.2 + 1j * (3 * y - 1.5))
    rng = np.random.default_rng(5)
    seeds = rng.random((40, 2))
    nearest = np.hypot(x[..., None] - seeds[:, 0], y[..., None] - seeds[:, 1]).argmin(-1)
    yield "mosaic", _spread(rng.random(40)[nearest])
    heights = rng.random(25).repeat(_SIZE // 25)
    yield "skyline", _spread(np.where(y > heights, 0.2, 0.6 + 0.4 * y))
    yield "blobs", _spread(skimage.data.binary_blobs(_SIZE, rng=3))
    yield "barcode", np.repeat(_spread(rng.random(100) > 0.5)[None].repeat(4, 1), _SIZE, 0)
    yield "blocks", _spread(rng.random((20, 20)) > 0.5).repeat(20, 0).repeat(20, 1)
    for font_px in (12, 24, 60):
        yield f"text-{font_px}", _text_page(font_px)
    yield "text-white-on-black", 255 - _text_page(30)
    for shape in ("ellipse", "rectangle", "line"):
        yield f"{shape}s", _shapes(shape)
    yield "face", _smile()


def _text_page(font_px: int) -> Gray:
    page = Image.new("L", (_SIZE, _SIZE), 255)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(font_px)
    per_line = 2 * _SIZE // font_px
    for row in range(_SIZE // font_px):
        start = row * per_line % len(_TEXT)
        line = (2 * _TEXT)[start : start + per_line]
        draw.text((8, row * font_px), line, fill=0, font=font)
    return np.array(page)


def _shapes(shape: str) -> Gray:
    page = Image.new("L", (_SIZE, _SIZE), 90)
    draw = ImageDraw.Draw(page)
    rng = np.random.default_rng(7)
    for _ in range(25):
        left, top = (int(value) for value in rng.integers(0, _SIZE - 60, 2))
        right, bottom = left + int(rng.integers(10, 60)), top + int(rng.integers(10, 60))
        getattr(draw, shape)((left, top, right, bottom), fill=int(rng.integers(256)))
    return np.array(page)


def _mandelbrot(constant: NDArray[np.complex128]) -> Gray:
    value = np.zeros_like(constant)
    n_inside = np.zeros(constant.shape)
    for _ in range(40):
        inside = np.abs(value) < 2
        value[inside] = value[inside] ** 2 + constant[inside]
        n_inside += inside
    return _spread(n_inside)


def _smile() -> Gray:
    page = Image.new("L", (_SIZE, _SIZE), 20)
    draw = ImageDraw.Draw(page)
    draw.ellipse((40, 40, 360, 360), fill=200)
    draw.ellipse((120, 130, 160, 170), fill=30)
    draw.ellipse((240, 130, 280, 170), fill=30)
    draw.arc((110, 150, 290, 300), 20, 160, fill=30, width=12)
    return np.array(page)


def _plots() -> Iterator[tuple[str, Gray]]:
    rng = np.random.default_rng(11)
    values = rng.normal(size=200).cumsum()
    table = rng.random((12, 12))
    draws = {
        "line": lambda axes: axes.plot(values),
        "scatter": lambda axes: axes.scatter(values, values[::-1]),
        "bar": lambda axes: axes.bar(range(12), table[0]),
        "histogram": lambda axes: axes.hist(values, bins=30),
        "pie": lambda axes: axes.pie(table[0, :5]),
        "image": lambda axes: axes.imshow(table),
        "contour": lambda axes: axes.contourf(table),
        "box": lambda axes: axes.boxplot(table),
        "step": lambda axes: axes.stairs(table[1]),
        "quiver": lambda axes: axes.quiver(table - 0.5, table.T - 0.5),
    }
    for name, draw in draws.items():
        figure = matplotlib.figure.Figure(figsize=(4, 4), dpi=100)
        draw(figure.subplots())
        file = io.BytesIO()
        figure.savefig(file, format="png")
        with Image.open(file) as image:
            yield name, _gray(image)


def _noise() -> Iterator[tuple[str, Gray]]:
    rng = np.random.default_rng(13)
    shape = (_SIZE, _SIZE)
    yield "uniform", rng.integers(0, 256, shape, dtype=np.uint8)
    for deviation in (2, 10, 40):
        noise = rng.normal(128, deviation, shape)
        yield f"normal-{deviation}", np.clip(noise, 0, 255).astype(np.uint8)
    yield (
        "salt-and-pepper",
        np.where(rng.random(shape) > 0.9, rng.integers(0, 2) * 255, 128).astype(np.uint8),
    )
    yield "poisson", rng.poisson(20, shape).astype(np.uint8)
    yield "exponential", np.clip(rng.exponential(40, shape), 0, 255).astype(np.uint8)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_SIZE), np.fft.fftfreq(_SIZE)))
    frequency[0, 0] = np.inf
    white = np.fft.fft2(rng.normal(size=shape))
    for power in (0.5, 1.0, 1.5, 2.0, 3.0):  # 1/f^power: the larger, the softer
        yield f"power-{power}", _spread(np.fft.ifft2(white / frequency**power).real)
    yield "stripes", _spread(rng.random((1, _SIZE)).repeat(_SIZE, 0))
    for level in (0, 64, 128, 192, 255):
        yield f"plain-{level}", np.full(shape, level, np.uint8)
