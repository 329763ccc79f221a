"""The script of the quantization tables, without the measuring."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import quantization_table


def test_at_most_sixty_rows_each_with_its_own_name() -> None:
    rows = list(quantization_table.rows())
    assert 40 <= len(rows) <= 60
    assert len({row.label for row in rows}) == len({row.settings for row in rows}) == len(rows)


def test_writes_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "doc.md"
    file.write_text("a\n<!-- table digits -->\nold\n<!-- end -->\nb\n<!-- end -->\n")
    quantization_table.write(file, "digits", "| new |")
    assert file.read_text() == (
        "a\n<!-- table digits -->\n| new |\n<!-- end -->\nb\n<!-- end -->\n"
    )
    with pytest.raises(ValueError, match="<!-- table minilm -->"):
        quantization_table.write(file, "minilm", "")
