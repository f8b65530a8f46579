import numpy as np
import pytest

from pneumoscope.data.joined_rows import JoinedRows


@pytest.mark.parametrize("lengths", [[7], [3, 4], [1, 0, 5, 2]])
def test_joined_rows_are_those_of_the_concatenation(lengths: list[int]) -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 255, (n, 2, 3), dtype=np.uint8) for n in lengths]
    whole, joined = np.concatenate(parts), JoinedRows(parts)
    rows = rng.integers(0, len(whole), 40)
    assert np.array_equal(joined[rows], whole[rows])
    assert joined[rows].dtype == whole.dtype
    assert joined[rows[:0]].shape == (0, 2, 3)
    assert (len(joined), joined.shape) == (len(whole), whole.shape)
    assert joined.nbytes == whole.nbytes


@pytest.mark.parametrize("row", [-1, 7])
def test_a_row_outside_is_refused(row: int) -> None:
    joined = JoinedRows([np.zeros((3, 2)), np.zeros((4, 2))])
    with pytest.raises(IndexError, match="outside 0 to 6"):
        joined[np.array([0, row])]
