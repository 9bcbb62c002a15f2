"""Embedding vectors as bytes: float32, little-endian, of unit length.

The dot product of two such vectors of one model is their cosine similarity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

__all__ = ["dimensions_of", "pack_vector", "unit_rows", "unpack_vector"]

BYTES_PER_NUMBER = 4


def pack_vector(values: ArrayLike) -> bytes:
    """Turn numbers into a stored vector, brought to unit length.

    ValueError: it isn't a flat sequence, is empty, or holds infinite, undefined or only zero values.
    """
    import numpy as np

    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError("vector: a flat, non-empty sequence of numbers is needed.")
    return unit_rows(numbers[np.newaxis]).tobytes()


def unit_rows(matrix: ArrayLike) -> NDArray[np.float32]:
    """Bring every row of a matrix to unit length. ValueError: one is infinite, undefined or only zero."""
    import numpy as np

    numbers = np.asarray(matrix, dtype=np.float64)
    if numbers.ndim != 2 or not numbers.size:
        raise ValueError("vectors: rows of numbers, all as long, are needed.")
    # Scaled before it is squared, because the squares of large numbers overflow and of small ones vanish.
    largest = np.abs(numbers).max(axis=1, keepdims=True)
    if not np.isfinite(largest).all() or not largest.all():
        raise ValueError("vectors: finite numbers that are not all zero are needed.")
    numbers = numbers / largest
    rows: NDArray[np.float32] = (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype("<f4")
    return rows


def unpack_vector(stored: bytes | bytearray | memoryview) -> NDArray[np.float32]:
    """Read a stored vector without copying it; the array can't be written to."""
    import numpy as np

    dimensions_of(stored)
    vector: NDArray[np.float32] = np.frombuffer(stored, dtype="<f4")
    vector.flags.writeable = False
    return vector


def dimensions_of(stored: bytes | bytearray | memoryview) -> int:
    """How many numbers a stored vector has. ValueError: it is empty or cut."""
    count, rest = divmod(memoryview(stored).nbytes, BYTES_PER_NUMBER)
    if rest or not count:
        raise ValueError("vector: a whole number of float32 values is needed, at least one.")
    return count
