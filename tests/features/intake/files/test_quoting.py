from collections.abc import Iterator

import pytest

from cluster.base.errors import InvalidInput
from cluster.features.intake.files.decoding import MAX_LINE
from cluster.features.intake.files.quoting import has_quotes

LONG = f"{'x' * 1_000_000}\ty\n"


def test_a_quote_that_stays_open_is_followed_no_further_than_a_record_may_reach() -> None:
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for line in ("text\tlabel\n", 'a\t"b\n', *[LONG] * 300):
            read += 1
            yield line

    with pytest.raises(InvalidInput, match=r"the quotes in line 2 of a\.tsv enclose a field"):
        has_quotes(lines(), "\t", "a.tsv", 1)
    assert read < 3 + MAX_LINE // len(LONG) + 1
