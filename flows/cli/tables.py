"""Tables for people: one line per row, with as many columns as fit the terminal, or all in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from tasks.domain.printable import printable_name

_GAP = "  "
_NARROWEST = 8
_CUT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: its heading.
        rank: 0 for a column that is always shown. If the terminal is too narrow, the column with the highest
            rank is left out first, and columns with rank 1 only after cells have been cut. Empty columns with
            a rank are always left out.
        right: whether it is aligned to the right, as figures are.
        shrinks: whether its cells may be cut (…) if leaving out columns is not enough.
    """

    name: str
    rank: int = 0
    right: bool = False
    shrinks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedTable:
    """A table that fits the width at which it is printed.

    Attributes:
        title: a line above it.
        columns: from left to right.
        rows: one cell for each column; control characters and line feeds are shown as escapes.
        wide: whether to print all of it, however narrow the terminal is.
        hint: how to see what was left out, for people; empty if there is no way.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    wide: bool = False
    hint: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield one line for each row."""
        width = None if self.wide else options.max_width
        yield Text(printable_name(self.title), style="italic", no_wrap=True)
        yield from self._lines(width)

    def _lines(self, width: int | None) -> Iterator[Text]:
        names = [column.name for column in self.columns]
        rows = [[printable_name(cell) for cell in row] for row in self.rows]
        natural = [max(map(cell_len, cells)) for cells in zip(names, *rows, strict=True)]
        filled = [n for n, column in enumerate(self.columns) if column.rank == 0 or any(r[n] for r in rows)]
        shown = filled if width is None else self._chosen(filled, natural, width)
        widths = natural if width is None else self._shrunk(natural, shown, width)
        yield Text(self._line(names, shown, widths), style="bold", no_wrap=True)
        for row in rows:
            yield Text(self._line(row, shown, widths), no_wrap=True)
        left_out = [names[n] for n in filled if n not in shown]
        if self.hint and (left_out or widths != natural):
            yield Text(self._hint(left_out, width), style="dim")

    def _hint(self, left_out: Sequence[str], width: int | None) -> str:
        """Return which columns are left out and how to see them, in one line."""
        what = f"Not shown: {', '.join(left_out)}" if left_out else "Some cells are cut"
        line = f"{what} ({self.hint})."
        too_long = width is not None and cell_len(line) > width
        return f"Not shown: {len(left_out)} columns ({self.hint})." if too_long else line

    def _chosen(self, shown: Sequence[int], natural: Sequence[int], width: int) -> list[int]:
        """Return the columns that fit `width`; cells are cut before columns with rank 1 are left out."""
        columns = self.columns
        cut = [min(length, _CUT) if columns[n].shrinks else length for n, length in enumerate(natural)]
        chosen = sorted(shown, key=lambda n: columns[n].rank)
        while columns[last := chosen[-1]].rank:
            if _total(natural if columns[last].rank > 1 else cut, chosen) <= width:
                break
            chosen.pop()
        return sorted(chosen)

    def _shrunk(self, natural: Sequence[int], shown: Sequence[int], width: int) -> list[int]:
        """Return column widths with which a row fits `width`, as far as columns may shrink."""
        widths = list(natural)
        shrinking = [n for n in shown if self.columns[n].shrinks]
        while _total(widths, shown) > width:
            widest = max(shrinking, key=lambda n: widths[n], default=None)
            if widest is None or widths[widest] <= max(_NARROWEST, cell_len(self.columns[widest].name)):
                break
            widths[widest] -= 1
        return widths

    def _line(self, cells: Sequence[str], shown: Sequence[int], widths: Sequence[int]) -> str:
        parts = (_cell(cells[n], widths[n], right=self.columns[n].right) for n in shown)
        return _GAP.join(parts).rstrip()


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[n] for n in shown) + len(_GAP) * (len(shown) - 1)


def _cell(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + "…"
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks
