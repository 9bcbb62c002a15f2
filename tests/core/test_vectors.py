"""Vectors as bytes."""

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core.vectors import dimensions_of, pack_vector, unit_rows, unpack_vector


def test_stored_form_is_float32_little_endian_of_unit_length() -> None:
    assert pack_vector([3, 4]) == struct.pack("<2f", 0.6, 0.8)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20).filter(
        lambda numbers: any(numbers)
    )
)
def test_any_finite_vector_keeps_its_direction_and_gets_length_one(numbers: list[float]) -> None:
    vector = unpack_vector(pack_vector(numbers))
    assert vector.shape == (len(numbers),)
    assert math.isclose(float(np.linalg.norm(vector.astype(np.float64))), 1.0, rel_tol=1e-6)
    assert all(
        math.copysign(1, got) == math.copysign(1, was)
        for got, was in zip(vector, numbers, strict=True)
        if got
    )
    assert int(np.abs(vector).argmax()) in np.flatnonzero(
        np.isclose(np.abs(numbers), np.abs(numbers).max(), rtol=1e-6)
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], "non-empty"),
        ([[1.0, 2.0]], "flat"),
        (1.0, "flat"),
        ([0.0, 0.0], "not all zero"),
        ([1.0, math.nan], "finite"),
        ([1.0, -math.inf], "finite"),
    ],
)
def test_what_has_no_direction_is_refused(values: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        pack_vector(values)


def test_reading_copies_nothing_and_cannot_write() -> None:
    stored = bytearray(pack_vector([1.0, 2.0, 2.0]))
    vector = unpack_vector(memoryview(stored))
    assert vector.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = 1
    stored[:4] = struct.pack("<f", 0.5)
    assert vector[0] == 0.5


@pytest.mark.parametrize("stored", [b"", b"abc", b"12345"])
def test_cut_bytes_are_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="float32"):
        unpack_vector(stored)


def test_dimensions_are_counted_in_numbers() -> None:
    assert dimensions_of(memoryview(pack_vector(range(1, 1537)))) == 1536


def test_rows_of_a_matrix_get_length_one_each() -> None:
    rows = unit_rows([[3.0, 4.0], [0.0, 1e300]])
    assert rows.dtype == np.dtype("<f4")
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 1.0]], atol=1e-7)


@pytest.mark.parametrize(
    "matrix", [[], [1.0], [[]], [[1.0], [0.0]], [[1.0], [math.nan]], [[1.0], [1.0, 2.0]]]
)
def test_a_matrix_with_a_row_that_has_no_direction_is_refused(matrix: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        unit_rows(matrix)
