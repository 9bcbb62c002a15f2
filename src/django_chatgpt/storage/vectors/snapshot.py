"""The vectors of a scope as one process keeps them: a state that never changes while somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import numpy as np

from django_chatgpt.storage.vectors.rows import KEY, find

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from django_chatgpt.storage.vectors.rows import Keys, Matrix, Positions

#: Room for as much again of the rows there are, and at least so many.
SPARE = 8
SPARE_ROWS = 256

#: Rows that are gone keep their place until they are so large a part of all, and so many.
GONE = 4
GONE_ROWS = 1024


class Encoding(Protocol):
    """What is kept of a vector."""

    def width(self, dimensions: int) -> int:
        """Numbers in a row."""

    def dtype(self) -> np.dtype[Any]:
        """Of what kind they are."""

    def encode(self, matrix: Matrix) -> NDArray[Any]:
        """Rows of vectors as what is kept of them."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows side by side, with room behind the `used` ones; nobody looks there before a later state does."""

    keys: Keys
    rows: NDArray[Any]
    used: int

    @classmethod
    def of_room(cls, room: int, width: int, dtype: np.dtype[Any]) -> Block:
        # Memory that was never written to takes no place, so that room is free until it is needed.
        return cls(np.empty(room, dtype=KEY), np.empty((room, width), dtype=dtype), 0)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A scope at `version`: blocks one behind the other, and the positions in them whose rows are gone."""

    version: int
    head: UUID | None
    blocks: tuple[Block, ...]
    gone: Positions

    @classmethod
    def empty(
        cls, version: int, head: UUID | None, encoding: Encoding, dimensions: int, rows: int
    ) -> Snapshot:
        """No rows yet, and room for about `rows`."""
        room = rows + rows // SPARE + SPARE_ROWS
        block = Block.of_room(room, encoding.width(dimensions), encoding.dtype())
        return cls(version, head, (block,), np.empty(0, dtype=np.intp))

    @property
    def size(self) -> int:
        """Positions, those of rows that are gone included."""
        return sum(block.used for block in self.blocks)

    @property
    def count(self) -> int:
        return self.size - len(self.gone)

    @property
    def nbytes(self) -> int:
        """The memory that was written to."""
        return sum(block.used * (block.rows[:1].nbytes + KEY.itemsize) for block in self.blocks)

    def filled(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """The rows of each block, with the position of the first."""
        start = 0
        for block in self.blocks:
            yield start, block.rows[: block.used]
            start += block.used

    def keys(self) -> Keys:
        """The keys of all positions."""
        if len(self.blocks) == 1:
            return self.blocks[0].keys[: self.blocks[0].used]
        return np.concatenate([block.keys[: block.used] for block in self.blocks])

    def take(self, positions: Positions) -> NDArray[Any]:
        """The rows at ascending positions."""
        bounds = np.cumsum([0, *(block.used for block in self.blocks)])
        parts = np.searchsorted(positions, bounds)
        return np.concatenate(
            [
                block.rows[positions[parts[number] : parts[number + 1]] - bounds[number]]
                for number, block in enumerate(self.blocks)
            ]
        )

    def standing(self, positions: Positions) -> Positions:
        """Those of the positions whose rows are not gone."""
        return positions[~np.isin(positions, self.gone)] if len(self.gone) else positions

    def with_rows(self, keys: Keys, rows: NDArray[Any]) -> Snapshot:
        """The same and rows behind it, written into the room there is; one block more where it ends."""
        last = self.blocks[-1]
        fitting = min(len(rows), len(last.rows) - last.used)
        blocks = [*self.blocks[:-1], _written(last, keys[:fitting], rows[:fitting])]
        if fitting < len(rows):
            more = max(len(rows) - fitting, self.size // SPARE, SPARE_ROWS)
            block = Block.of_room(more, last.rows.shape[1], last.rows.dtype)
            blocks.append(_written(block, keys[fitting:], rows[fitting:]))
        return replace(self, blocks=tuple(blocks))

    def without(self, keys: Keys) -> Snapshot:
        """The same with the rows of `keys` gone; pressed together if that is worth it."""
        positions = self.standing(find(self.keys(), keys))
        if not len(positions):
            return self
        fewer = replace(self, gone=np.union1d(self.gone, positions))
        many = len(fewer.gone) > max(self.size // GONE, GONE_ROWS)
        return fewer._pressed() if many else fewer

    def _pressed(self) -> Snapshot:
        stand = self.standing(np.arange(self.size))
        last = self.blocks[-1].rows
        block = Block.of_room(len(stand) + len(stand) // SPARE + SPARE_ROWS, last.shape[1], last.dtype)
        nothing = replace(self, blocks=(block,), gone=np.empty(0, dtype=np.intp))
        return nothing.with_rows(self.keys()[stand], self.take(stand))


def _written(block: Block, keys: Keys, rows: NDArray[Any]) -> Block:
    end = block.used + len(rows)
    block.keys[block.used : end] = keys
    block.rows[block.used : end] = rows
    return replace(block, used=end)
