"""The sanity check of maps: by hand, and through `evaluate` on a trained network."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from pneumoscope.data.open import open_dataset
from pneumoscope.data.phantom_set import make_phantoms
from pneumoscope.report.results import load_evaluation
from pneumoscope.study.evaluate import evaluate_run
from pneumoscope.study.map_sanity import BAR, RANDOM_SEEDS, compare_maps
from pneumoscope.training import fit
from pneumoscope.training.inference import load_network
from pneumoscope.training.maps import map_rows, random_network
from pneumoscope.training.recipe_file import parse_recipe
from pneumoscope.training.run_data import roles_of

RECIPE = {
    "name": "tiny",
    "title": "A network small enough for tests",
    "source": {"title": "None"},
    "input": {"size_px": 32, "channels": 1},
    "network": {
        "kind": "scratch",
        "conv_padding": "same",
        "blocks": [{"filters": [4], "batch_norm": True}, {"filters": [6]}],
    },
    "split": {"tuning_fraction": 0.3},
    "training": {
        "epochs": 1,
        "batch_size": 8,
        "optimizer": {"name": "adam"},
        "precision": "fp32",
    },
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanity") / "phantoms"
    return open_dataset(make_phantoms(folder, count=60, seed=0, size_px=32))


@pytest.fixture(scope="module")
def trained(phantoms, tmp_path_factory):
    recipe = parse_recipe(RECIPE, where="tiny")
    out = tmp_path_factory.mktemp("sanity-run") / "run"
    return fit(recipe, phantoms, out, accelerator="cpu", show_progress=False)


@pytest.fixture(scope="module")
def tested(trained, phantoms):
    """The run's folder after `evaluate` read its test split."""
    evaluate_run(trained, phantoms)
    return load_evaluation(trained.path / "metrics.json")


def maps(n: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5, 6))


def patients(n: int) -> np.ndarray:
    return np.array([f"p{index}" for index in range(n)])


def test_rho_is_scipys_mean_over_networks_and_radiographs() -> None:
    one, others = maps(9, seed=0), [maps(9, seed=1), maps(9, seed=2)]
    found = compare_maps(one, others, patient_id=patients(9))
    rho = np.array(
        [[spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, other, strict=True)]
         for other in others]
    )  # fmt: skip
    assert found.mean_abs_rho.value == pytest.approx(np.abs(rho).mean(), abs=1e-12)
    assert found.mean_rho.value == pytest.approx(rho.mean(), abs=1e-12)
    assert found.mean_abs_rho.low < found.mean_abs_rho.value < found.mean_abs_rho.high
    assert (found.n, found.n_networks, found.n_constant) == (9, 2, 0)
    assert (found.map_height, found.map_width) == (5, 6)


def test_chance_is_what_maps_of_noise_have() -> None:
    one, other = maps(4000, seed=3), maps(4000, seed=4)
    found = compare_maps(one, [other], patient_id=patients(4000))
    assert found.chance_abs_rho == pytest.approx(found.mean_abs_rho.value, rel=0.04)
    assert found.is_met  # 0.15 for 30 positions


@pytest.mark.parametrize("sign", [1, -1])
def test_maps_that_stay_the_same_or_turn_round_fail_the_bar(sign) -> None:
    one = maps(5, seed=5)
    found = compare_maps(one, [sign * one], patient_id=patients(5))
    assert found.mean_abs_rho.value == pytest.approx(1)
    assert found.mean_rho.value == pytest.approx(sign)
    assert not found.is_met
    assert found.bar == BAR == 0.2


def test_a_constant_map_is_left_out_and_counted() -> None:
    one, other = maps(4, seed=6), maps(4, seed=7)
    one[1] = 3.0
    found = compare_maps(one, [other], patient_id=patients(4))
    assert (found.n, found.n_constant, found.mean_abs_rho.n) == (4, 1, 3)
    nothing = compare_maps(np.zeros((4, 5, 6)), [other], patient_id=patients(4))
    assert math.isnan(nothing.mean_abs_rho.value)
    assert nothing.mean_abs_rho.n == 0
    assert not nothing.is_met


def test_a_random_network_is_not_the_trained_one_and_repeats(trained) -> None:
    before = torch.random.get_rng_state()
    first, again = (random_network(trained.recipe, seed=7) for _ in range(2))
    other = random_network(trained.recipe, seed=8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not first.training
    ours = dict(load_network(trained).named_parameters())
    for name, weights in first.named_parameters():
        assert torch.equal(weights, again.get_parameter(name))
        if weights.dim() > 1:
            assert not torch.allclose(weights, ours[name])
            assert not torch.allclose(weights, other.get_parameter(name))


def test_evaluate_states_the_sanity_check_of_the_runs_own_maps(trained, phantoms, tested) -> None:
    rows = roles_of(trained.recipe, phantoms).test
    own = map_rows(trained, phantoms, rows).cam
    others = [
        map_rows(trained, phantoms, rows, network=random_network(trained.recipe, seed=seed)).cam
        for seed in RANDOM_SEEDS
    ]
    rho = [
        abs(spearmanr(a.ravel(), b.ravel()).statistic)
        for other in others
        for a, b in zip(own, other, strict=True)
    ]
    sanity = tested.map_sanity
    assert sanity is not None
    assert sanity.n == len(rows)
    assert sanity.mean_abs_rho.value == pytest.approx(np.mean(rho), abs=1e-9)
    assert sanity.is_met == (np.mean(rho) <= 0.2)


def test_evaluate_measures_localisation_where_there_are_boxes(trained, phantoms, tested) -> None:
    rows = roles_of(trained.recipe, phantoms).test
    own = map_rows(trained, phantoms, rows)
    found = tested.localisation
    assert found is not None
    table = phantoms.manifest.table[rows.tolist()]
    hits = []
    for cam, text in zip(own.cam, table["boxes"], strict=True):
        row, column = np.unravel_index(cam.argmax(), cam.shape)
        x, y = (column + 0.5) * 32 / cam.shape[1], (row + 0.5) * 32 / cam.shape[0]
        boxes = json.loads(text)
        if boxes:
            hits.append(
                any(
                    0 <= x - box["x"] <= box["width"] and 0 <= y - box["y"] <= box["height"]
                    for box in boxes
                )
            )
    assert found.n_with_boxes == len(hits) == (table["target"] == 1).sum()
    assert found.rows[0].pointing_game.value == pytest.approx(np.mean(hits))
    assert found.threshold == tested.point("balanced").threshold


def test_the_report_shows_both_beside_the_bar(trained, tested) -> None:
    page = (trained.path / "report.html").read_text()
    assert "Where it looks" in page
    assert "Always the image&#39;s centre" in page
    assert f"{tested.localisation.rows[0].rsna_score.value:.3f}" in page
    verdict = "is met" if tested.map_sanity.is_met else "is NOT met"
    assert f"the bar, at most 0.2, {verdict}" in page


def test_a_report_without_maps_has_no_such_part(evaluated) -> None:
    run, evaluation = evaluated  # its predictions come from a stand-in, which has no maps
    assert evaluation.localisation is None
    assert evaluation.map_sanity is None
    assert "Where it looks" not in (run.path / "report.html").read_text()
