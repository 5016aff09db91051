"""docs/compatibility.md: its tables are whole, and are written as they should be."""

from __future__ import annotations

from pathlib import Path

import compatibility
import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"

if not PAGE.is_file():
    pytest.skip("the page is not beside the tests", allow_module_level=True)

INTERPRETERS = ("CPython 3.11", "PyPy 3.9")
MARKED = "before\n<!-- table: X 1 -->\n\n{}\n\n<!-- end: X 1 -->\nafter\n"


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_every_file_has_a_row(interpreter):
    """No file of tests with a library is without its row, and no row says that it failed."""
    rows = compatibility.rows_of(PAGE.read_text(encoding="utf-8"), interpreter)
    files = {path.stem.replace("test_eco_", "") for path in HERE.glob("test_eco_*.py")}
    assert set(rows) == files - {"mixing", "page"}
    assert not [row for row in rows.values() if "failed" in row]


def test_only_the_table_is_replaced():
    """What stands around a table stays, and what is written can be read."""
    title = "| library | version | context | install |\n|---|---|---|---|"
    table = f"{title}\n| one | one 1.0 | 1 passed | – |\n| two | two 2.0 | – | 2 passed |"
    text = compatibility.replace(MARKED.format("old"), "X 1", table)
    assert text == MARKED.format(table)
    assert list(compatibility.rows_of(text, "X 1")) == ["one", "two"]


def test_a_page_without_marks():
    """An interpreter that has no place in the page is an error, not a lost table."""
    with pytest.raises(ValueError, match="X 2"):
        compatibility.replace(MARKED.format("old"), "X 2", "new")
