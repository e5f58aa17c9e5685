from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.columns import SortedRows
from tamis.sources.seen import Seen

KEYS = st.integers(0, 30) | st.integers(2**64 - 5, 2**64 - 1)


@given(st.lists(st.dictionaries(KEYS, st.integers(-(2**40), 2**40), max_size=20), max_size=8))
def test_rows_are_those_of_a_dict(batches):
    rows = SortedRows(np.empty(0, np.uint64), np.empty(0, np.int64))
    known: dict[int, int] = {}
    for batch in batches:
        rows.merge(np.array(list(batch), np.uint64), np.array(list(batch.values()), np.int64))
        known |= batch
        assert rows.column(0).tolist() == sorted(known)
        assert rows.column(1).tolist() == [known[key] for key in sorted(known)]
        assert [rows.find(key) for key in sorted(known)] == list(range(len(known)))
        assert rows.find(77) is None


def test_what_was_seen_is_told_from_what_was_not(monkeypatch):
    monkeypatch.setattr("tamis.sources.seen._MIN_NEW", 7)
    seen = Seen()
    for number in range(300):
        assert str(number) not in seen
        seen.add(str(number))
        seen.add(str(number // 2))
    assert all(str(number) in seen for number in range(300))
