import hashlib
import logging
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pneumoscope.core.errors import SplitError, UsageError
from pneumoscope.data.folders import list_folders
from pneumoscope.data.manifest import Manifest, make_manifest
from pneumoscope.data.splits import Roles, assign_roles, check_roles

NAMES = ("training", "tuning", "test", "unused")
ALL = ("training", "tuning", "test")
Row = tuple[str, str, int | None, str | None]  # patient, split, target, subtype


def build(rows: list[Row], *, origin: list[str] | None = None) -> Manifest:
    patient, split, target, subtype = zip(*rows, strict=True)
    columns = {
        "path": [f"{i}.png" for i in range(len(rows))],
        "target": target,
        "patient_id": patient,
        "split": split,
        "subtype": subtype,
        "origin": origin or ["real"] * len(rows),
    }
    return make_manifest(columns, root=Path(), name="set")


def many(n_patients: int, *, per_patient: int = 2) -> list[Row]:
    """Rows of an official train and test, in three strata."""
    kinds = [(0, None), (1, "bacterial"), (1, "viral")]
    return [
        (f"p{i}", "test" if i % 5 == 0 else "train", *kinds[i % 3])
        for i in range(n_patients)
        for _ in range(per_patient)
    ]


def patients(manifest: Manifest, rows: np.ndarray) -> set[str]:
    return set(manifest.table["patient_id"].gather(rows).to_list())


@pytest.fixture(scope="module")
def kermany(real_data: Path) -> Manifest:
    return list_folders(real_data)


def test_real_radiographs_are_shared_out_as_promised(kermany: Manifest) -> None:
    roles = assign_roles(kermany)
    check_roles(kermany, roles, needs=ALL)
    table = kermany.table
    assert len(roles.training) + len(roles.tuning) == 5216
    assert len(roles.tuning) == pytest.approx(521.6, abs=10)
    assert set(table["split"].gather(roles.test)) == {"test"}
    assert len(roles.test) == 624
    assert set(table["split"].gather(roles.unused)) == {"val"}
    assert len(roles.unused) == 16
    for first, second in combinations(ALL, 2):
        one, other = (patients(kermany, getattr(roles, role)) for role in (first, second))
        assert not one & other


@pytest.mark.parametrize("salt", ["0", "1", "2"])
def test_strata_of_the_real_tuning_split_are_those_of_training(
    kermany: Manifest, salt: str
) -> None:
    roles = assign_roles(kermany, salt=salt)
    shares = []
    for rows in (roles.training, roles.tuning):
        counts = Counter(kermany.table[rows].select("target", "subtype").rows())
        shares.append({key: n / len(rows) for key, n in counts.items()})
    assert shares[0].keys() == shares[1].keys()
    for key, share in shares[0].items():
        assert shares[1][key] == pytest.approx(share, abs=0.015)


def test_another_salt_draws_other_patients(kermany: Manifest) -> None:
    draws = [patients(kermany, assign_roles(kermany, salt=salt).tuning) for salt in "01"]
    n_expected = len(draws[0]) * 0.1  # by chance a tenth would be drawn again
    assert len(draws[0] & draws[1]) < 2 * n_expected


def test_tuning_from_val_trains_on_the_whole_official_train(kermany: Manifest) -> None:
    roles = assign_roles(kermany, tuning_from="val")
    assert [len(getattr(roles, name)) for name in NAMES] == [5216, 16, 624, 0]


def test_the_draw_is_the_same_for_the_same_patients_in_any_order() -> None:
    rows = many(200)
    manifest = build(rows)
    shuffled = build([rows[i] for i in np.random.default_rng(0).permutation(len(rows))])
    for name in NAMES:
        first, second = (getattr(assign_roles(m), name) for m in (manifest, shuffled))
        assert patients(manifest, first) == patients(shuffled, second)


def test_new_patients_leave_nearly_all_old_ones_in_place() -> None:
    old = many(1000)
    new = [(f"new{patient}", split, *rest) for patient, split, *rest in many(300)]
    before, after = build(old), build(old + new)
    was, now = (patients(m, assign_roles(m).tuning) for m in (before, after))
    moved = was ^ {patient for patient in now if not patient.startswith("new")}
    assert len(was) == pytest.approx(80, abs=3)
    # Only the boundary shifts: far below the 90 % or so that a fresh draw would move.
    assert len(moved) <= 0.15 * len(was)


def test_a_patients_images_count_and_go_together() -> None:
    # Two strata of ten patients; each patient of the second has a viral image among bacterial ones.
    rows: list[Row] = [(f"n{i}", "train", 0, None) for i in range(10)]
    for i in range(10):
        rows += [(f"b{i}", "train", 1, "bacterial")] * 2 + [(f"b{i}", "train", 1, "viral")]
    roles = assign_roles(build(rows), tuning_fraction=0.2)
    chosen = Counter(name[0] for name in patients(build(rows), roles.tuning))
    assert chosen == {"n": 2, "b": 2}
    assert len(roles.tuning) == 2 + 2 * 3


def test_patients_with_several_subtypes_are_drawn_apart() -> None:
    rows: list[Row] = []
    for i in range(10):
        rows += [(f"pure{i}", "train", 1, "viral")] * 2
        rows += [(f"nearly{i}", "train", 1, "viral")] * 6 + [
            (f"nearly{i}", "train", 1, "bacterial")
        ]
        # A tie goes to the name that sorts first, so these count as bacterial, mixed.
        rows += [(f"mixed{i}", "train", 1, "viral"), (f"mixed{i}", "train", 1, "bacterial")]
    manifest = build(rows)
    chosen = Counter(
        name.rstrip("0123456789")
        for name in patients(manifest, assign_roles(manifest, tuning_fraction=0.3).tuning)
    )
    assert chosen["mixed"] == 3
    n_images = 2 * chosen["pure"] + 7 * chosen["nearly"]
    assert n_images == pytest.approx(0.3 * 90, abs=3.5)  # one stratum, nearest to 27 images


def draw_by_definition(rows: list[Row], *, fraction: float, salt: str) -> set[str]:
    """Oracle: the docstring of `assign_roles`, patient by patient."""
    kinds: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for patient, _, target, subtype in rows:
        kinds[patient].append((target, subtype or "~"))  # no subtype sorts last
    strata = defaultdict(list)
    for patient, of_patient in kinds.items():
        commonest, n = min(Counter(of_patient).items(), key=lambda item: (-item[1], item[0]))
        strata[commonest, n / len(of_patient) < 0.75].append(patient)
    pools = defaultdict(list)
    for (commonest, is_mixed), members in strata.items():
        is_small = fraction * len(members) < 2
        pools[(commonest[0],) if is_small else (commonest, is_mixed)] += members
    chosen: set[str] = set()
    for members in pools.values():
        members.sort(key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).digest())
        wanted = fraction * sum(len(kinds[name]) for name in members)
        taken = [sum(len(kinds[name]) for name in members[:n]) for n in range(len(members) + 1)]
        n_patients = min(range(len(taken)), key=lambda n: abs(taken[n] - wanted))
        chosen |= set(members[:n_patients])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_draw_follows_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(150):
        usual = [(0, None), (1, "bacterial"), (1, "viral"), (1, None)][rng.integers(4)]
        other = (1, "viral") if usual[0] else (0, None)
        n_images = int(rng.integers(1, 9))
        is_usual = rng.random(n_images) < 0.7
        rows += [(f"p{i}", "train", *(usual if same else other)) for same in is_usual]
    manifest = build(rows)
    roles = assign_roles(manifest, tuning_fraction=0.23, salt=str(seed))
    assert patients(manifest, roles.tuning) == draw_by_definition(
        rows, fraction=0.23, salt=str(seed)
    )


@pytest.mark.parametrize("per_organism", [5, 6, 14])
def test_rare_subtypes_tune_as_often_as_their_target_does(per_organism: int) -> None:
    rows: list[Row] = []
    for i in range(40 * per_organism):
        rows += [(f"n{i}", "train", 0, None), (f"p{i}", "train", 1, f"organism {i % 40}")]
    tuning = assign_roles(build(rows)).tuning
    counts = Counter(build(rows).table["target"].gather(tuning).to_list())
    assert counts == {0: 4 * per_organism, 1: 4 * per_organism}


def test_the_share_is_the_nearest_that_whole_patients_allow() -> None:
    big: list[Row] = [("p0", "train", 0, None)] * 7 + [("p1", "train", 0, None)] * 7
    assert len(assign_roles(build(big), tuning_fraction=0.4).tuning) == 7
    assert len(assign_roles(build(big), tuning_fraction=0.2).tuning) == 0


def test_a_patient_in_two_official_splits_stays_in_the_later_role(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    rows = many(100)
    rows += [("p5", "train", 0, None), ("p5", "train", 0, None)]  # p5 is in test
    roles = assign_roles(build(rows))
    assert set(roles.unused) == {len(rows) - 2, len(rows) - 1}
    assert "2 images are left out of training" in caplog.text
    assert "p5" not in caplog.text


def test_unknown_targets_are_unused() -> None:
    rows = [*many(100), ("x", "train", None, None), ("y", "test", None, None)]
    assert set(assign_roles(build(rows)).unused) == {len(rows) - 2, len(rows) - 1}


rows_of_any_kind = st.lists(
    st.tuples(
        st.sampled_from([f"p{i}" for i in range(12)]),
        st.sampled_from(["train", "train", "val", "test"]),
        st.sampled_from([0, 1, None]),
        st.sampled_from([None, "bacterial", "viral"]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    rows=rows_of_any_kind,
    fraction=st.floats(0.01, 0.99),
    tuning_from=st.sampled_from(["train", "val"]),
)
def test_roles_of_any_manifest(rows: list[Row], fraction: float, tuning_from: str) -> None:
    manifest = build(rows)
    roles = assign_roles(manifest, tuning_fraction=fraction, tuning_from=tuning_from)
    everything = np.concatenate([getattr(roles, name) for name in NAMES])
    assert sorted(everything.tolist()) == list(range(len(rows)))  # each row once
    sides: dict[str, set[str]] = defaultdict(set)
    official = {"training": {"train"}, "tuning": {tuning_from}, "test": {"test"}}
    for name in NAMES:
        numbers = getattr(roles, name)
        assert numbers.dtype == np.int64
        assert numbers.tolist() == sorted(numbers.tolist())
        for number in numbers if name != "unused" else ():
            patient, split, target, _ = rows[number]
            sides[patient].add(name)
            assert target is not None
            assert split in official[name]
    assert all(len(names) == 1 for names in sides.values())


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        assign_roles(build(many(10)), tuning_fraction=fraction)


def as_roles(**rows: list[int]) -> Roles:
    return Roles(**{name: np.array(rows.get(name, []), dtype=np.int64) for name in NAMES})


FOUR: list[Row] = [("a", "train", 0, None), ("b", "train", 1, None)] * 2


@pytest.mark.parametrize("role", ALL)
def test_an_empty_role_and_one_class_are_refused_with_the_counts(role: str) -> None:
    manifest = build(FOUR)
    with pytest.raises(SplitError, match=f"set: the {role} split has 0 normal and 0 pneumonia"):
        check_roles(manifest, as_roles(), needs=(role,))
    with pytest.raises(SplitError, match=f"the {role} split has 2 normal and 0 pneumonia.*both"):
        check_roles(manifest, as_roles(**{role: [0, 2]}), needs=(role,))
    with pytest.raises(SplitError, match=f"the {role} split has 0 normal and 1 pneumonia.*both"):
        check_roles(manifest, as_roles(**{role: [1]}), needs=(role,))
    check_roles(manifest, as_roles(**{role: [0, 1]}), needs=(role,))


def test_what_is_not_needed_is_not_checked() -> None:
    check_roles(build(FOUR), as_roles(test=[0, 1]), needs=("test",))


@pytest.mark.parametrize("role", ["tuning", "test"])
def test_mixed_origins_and_generated_images_may_only_train(role: str) -> None:
    mixed = build(FOUR, origin=["real", "phantom", "real", "real"])
    with pytest.raises(
        SplitError,
        match=f"the {role} split .2 normal and 2 pneumonia.*mixes origins .3 real, 1 phantom",
    ):
        check_roles(mixed, as_roles(**{role: [0, 1, 2, 3]}), needs=(role,))
    generated = build(FOUR, origin=["generated"] * 4)
    with pytest.raises(SplitError, match="generated images .2 generated.: they may only train"):
        check_roles(generated, as_roles(**{role: [0, 1]}), needs=(role,))
    both = as_roles(training=[0, 1, 2, 3])
    check_roles(mixed, both, needs=("training",))
    check_roles(generated, both, needs=("training",))
    phantoms = build(FOUR, origin=["phantom"] * 4)
    check_roles(phantoms, as_roles(**{role: [0, 1]}), needs=(role,))


def test_where_one_id_takes_all_of_train_away_that_is_said() -> None:
    rows = [("nobody", split, target, None) for split in ("train", "test") for target in (0, 1, 0)]
    manifest = build([*rows, *many(30)])
    roles = assign_roles(manifest)
    check_roles(manifest, roles, needs=("training", "tuning"))  # others are left
    manifest = build(rows)
    with pytest.raises(SplitError, match=r"3 images of train are left out.*'nobody' most often"):
        check_roles(manifest, assign_roles(manifest), needs=("training",))
