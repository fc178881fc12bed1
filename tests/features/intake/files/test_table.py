from cluster.features.intake.files.table import CHUNK_BYTES, ROWS, in_chunks, rows_at_once


def test_a_chunk_has_no_more_rows_than_memory_holds() -> None:
    sizes = [len(chunk) for chunk in in_chunks(range(ROWS + 1), len)]
    assert sizes == [ROWS, 1]
    large = CHUNK_BYTES // 100
    sizes = [len(chunk) for chunk in in_chunks(range(300), lambda rows: large * len(rows))]
    assert sizes == [128, 128, 44]
    assert not list(in_chunks([], len))


def test_a_table_of_known_size_is_read_in_as_many_rows_as_fit() -> None:
    assert rows_at_once(1_000_000, 8_000_000) == ROWS
    assert rows_at_once(1_000, 10 * CHUNK_BYTES) == 100
    assert rows_at_once(1, 10 * CHUNK_BYTES) == 1
    assert rows_at_once(0, 0) == 1
