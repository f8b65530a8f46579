import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from pneumoscope.data.augment import apply_parameters, draw_parameters, seed_of
from pneumoscope.data.augmentation_recipe import AugmentationRecipe

GEOMETRY = AugmentationRecipe(
    rotation_deg=30, shear_deg=20, zoom=0.2, shift=0.1, horizontal_flip=True, vertical_flip=True
)
EVERYTHING = GEOMETRY.model_copy(
    update={
        "crop": 0.3,
        "brightness": 0.2,
        "contrast": 0.3,
        "gamma": (0.7, 1.4),
        "noise_sd": 0.1,
        "blur_sigma_px": 1.5,
        "downscale": 0.4,
    }
)


def keras_affine(picture: np.ndarray, **kwargs: float) -> np.ndarray:
    """Oracle: the matrices that Keras' apply_affine_transform documents, resampled by SciPy."""
    angle, shear = np.deg2rad(kwargs["theta"]), np.deg2rad(kwargs["shear"])
    rotate = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    move = [[1, 0, kwargs["tx"]], [0, 1, kwargs["ty"]], [0, 0, 1]]
    slant = [[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]]
    matrix = np.array(rotate) @ move @ slant @ np.diag([kwargs["zx"], kwargs["zy"], 1])
    centre = np.eye(3)
    centre[:2, 2] = np.array(picture.shape) / 2 - 0.5
    matrix = centre @ matrix @ np.linalg.inv(centre)
    return ndimage.affine_transform(picture, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest")


def test_the_warp_is_keras() -> None:
    height, width = 40, 56
    pixels = torch.rand(8, 1, height, width)
    drawn = draw_parameters(GEOMETRY, 8, seed=1, epoch=2, step=3)
    warped = apply_parameters(pixels, drawn, GEOMETRY)
    for index in range(8):
        expected = keras_affine(
            pixels[index, 0].double().numpy(),
            theta=float(drawn.rotation_deg[index]),
            tx=float(drawn.shift[index, 0]) * height,
            ty=float(drawn.shift[index, 1]) * width,
            shear=float(drawn.shear_deg[index]),
            zx=float(drawn.zoom[index, 0]),
            zy=float(drawn.zoom[index, 1]),
        )
        if drawn.is_mirrored[index, 0]:
            expected = expected[::-1]
        if drawn.is_mirrored[index, 1]:
            expected = expected[:, ::-1]
        assert np.abs(expected - warped[index, 0].numpy()).max() < 1e-4


@pytest.mark.parametrize("recipe", [GEOMETRY, EVERYTHING])
def test_a_batch_equals_one_by_one(recipe: AugmentationRecipe) -> None:
    pixels = torch.rand(6, 1, 32, 24)
    drawn = draw_parameters(recipe, 6, seed=0, epoch=0, step=0)
    whole = apply_parameters(pixels, drawn, recipe)
    for index in range(6):
        part = slice(index, index + 1)
        alone = apply_parameters(pixels[part], drawn.take(part), recipe)
        assert torch.allclose(alone, whole[part], atol=1e-6)


def test_draws_repeat_from_seed_epoch_and_step_and_differ_otherwise() -> None:
    first = draw_parameters(EVERYTHING, 4, seed=1, epoch=2, step=3).to_dict()
    assert draw_parameters(EVERYTHING, 4, seed=1, epoch=2, step=3).to_dict() == first
    for seed, epoch, step in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3)]:
        other = draw_parameters(EVERYTHING, 4, seed=seed, epoch=epoch, step=step).to_dict()
        assert other["rotation_deg"] != first["rotation_deg"]


def test_seeds_of_near_steps_are_all_different() -> None:
    seeds = {
        seed_of(seed, epoch, step, stream=stream)
        for seed in range(6)
        for epoch in range(6)
        for step in range(30)
        for stream in range(4)
    }
    assert len(seeds) == 6 * 6 * 30 * 4
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_draws_fill_the_ranges_and_stay_inside() -> None:
    drawn = draw_parameters(EVERYTHING, 5000, seed=0, epoch=0, step=0)
    for values, low, high in [
        (drawn.rotation_deg, -30, 30),
        (drawn.shear_deg, -20, 20),
        (drawn.zoom[:, 0], 0.8, 1.2),
        (drawn.zoom[:, 1], 0.8, 1.2),
        (drawn.shift[:, 0], -0.1, 0.1),
        (drawn.crop_scale[:, 1], 0.7, 1),
        (drawn.brightness, -0.2, 0.2),
        (drawn.contrast, 0.7, 1.3),
        (drawn.gamma, 0.7, 1.4),
        (drawn.noise_sd, 0, 0.1),
        (drawn.blur_sigma_px, 0, 1.5),
        (drawn.downscale, 0.4, 1),
    ]:
        span = high - low
        assert low <= values.min() < low + 0.01 * span
        assert high - 0.01 * span < values.max() <= high
    assert drawn.is_mirrored.double().mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.03)
    assert np.corrcoef(drawn.zoom.T.numpy())[0, 1] == pytest.approx(0, abs=0.05)


def test_the_default_changes_nothing() -> None:
    recipe = AugmentationRecipe()
    pixels = torch.rand(3, 1, 9, 9)
    drawn = draw_parameters(recipe, 3, seed=0, epoch=0, step=0)
    assert torch.equal(apply_parameters(pixels, drawn, recipe), pixels)


def test_blur_is_scipys_gaussian() -> None:
    recipe = AugmentationRecipe(blur_sigma_px=2)
    pixels = torch.rand(3, 1, 30, 40)
    drawn = draw_parameters(recipe, 3, seed=0, epoch=0, step=0)
    blurred = apply_parameters(pixels, drawn, recipe)
    for index in range(3):
        expected = ndimage.gaussian_filter(
            pixels[index, 0].double().numpy(),
            float(drawn.blur_sigma_px[index]),
            mode="nearest",
            radius=6,
        )
        assert np.abs(blurred[index, 0].numpy() - expected).max() < 1e-5


def test_crop_cuts_a_window_inside_the_picture() -> None:
    recipe = AugmentationRecipe(crop=0.5)
    # A ramp from 0 to 1: the window's left and right ends can be read from the values.
    ramp = torch.linspace(0, 1, 101).expand(1, 1, 101, 101)
    for step in range(20):
        drawn = draw_parameters(recipe, 1, seed=0, epoch=0, step=step)
        row = apply_parameters(ramp, drawn, recipe)[0, 0, 50]
        scale, place = float(drawn.crop_scale[0, 1]), float(drawn.crop_place[0, 1])
        start = (1 - scale) * place
        assert row[0].item() == pytest.approx(start + scale * 0.5 / 101, abs=0.011)
        assert row[-1].item() == pytest.approx(start + scale, abs=0.011)


def test_intensity_changes_follow_their_formulas() -> None:
    recipe = AugmentationRecipe(contrast=0.3, brightness=0.1, gamma=(0.8, 1.2))
    pixels = torch.rand(4, 1, 20, 20) * 0.4 + 0.3  # far from 0 and 1, so that nothing is clipped
    drawn = draw_parameters(recipe, 4, seed=3, epoch=0, step=0)
    changed = apply_parameters(pixels, drawn, recipe).numpy()
    for index in range(4):
        curved = pixels[index].numpy() ** float(drawn.gamma[index])
        expected = curved.mean() + (curved - curved.mean()) * float(drawn.contrast[index])
        expected = expected + float(drawn.brightness[index])
        assert np.abs(changed[index] - expected).max() < 1e-5


def test_noise_has_the_drawn_deviation() -> None:
    recipe = AugmentationRecipe(noise_sd=0.1)
    pixels = torch.full((4, 1, 200, 200), 0.5)
    drawn = draw_parameters(recipe, 4, seed=0, epoch=0, step=0)
    noisy = apply_parameters(pixels, drawn, recipe)
    for index in range(4):
        assert noisy[index].std().item() == pytest.approx(float(drawn.noise_sd[index]), rel=0.05)
    assert not torch.equal(noisy[0] / drawn.noise_sd[0], noisy[1] / drawn.noise_sd[1])


def test_down_and_up_removes_fine_detail_and_keeps_the_mean() -> None:
    recipe = AugmentationRecipe(downscale=0.3)
    pixels = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)).expand(
        5, -1, -1, -1
    )
    drawn = draw_parameters(recipe, 5, seed=0, epoch=0, step=0)
    softened = apply_parameters(pixels, drawn, recipe)
    assert softened.shape == pixels.shape
    order = drawn.downscale.argsort()
    spread = softened.std(dim=(1, 2, 3))[order]
    assert torch.all(spread.diff() > 0), "the smaller it was made, the less detail is left"
    assert softened.mean().item() == pytest.approx(pixels.mean().item(), abs=0.005)


def test_impossible_ranges_are_refused() -> None:
    with pytest.raises(ValidationError, match="runs from 2.0 down to 1.0"):
        AugmentationRecipe(gamma=(2, 1))
    with pytest.raises(ValidationError):
        AugmentationRecipe.model_validate({"rotatoin_deg": 3})
