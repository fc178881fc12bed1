from hypothesis import HealthCheck, given, settings

from tests.bench.figures.csv_writers import Written, fault, written


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(written())
def test_stored_rows_are_rows_of_the_file_whoever_wrote_it(file: Written) -> None:
    assert not fault(file)
