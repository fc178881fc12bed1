"""The environment is read once, and what is wrong with it is told by the variable's name."""

from pathlib import Path

import pytest

from cluster.base.errors import InvalidInput
from cluster.base.settings import direct_loopback, settings


def test_settings_have_defaults_and_the_environment_overrides_them() -> None:
    assert settings({}).port == 8000
    assert settings({"LEPTON_PORT": "9000"}).url == "http://127.0.0.1:9000"
    assert settings({"LEPTON_HOME": "~/elsewhere"}).home == Path.home() / "elsewhere"


def test_a_redis_is_named_by_its_address() -> None:
    for url, shown in (("cache:6379", "'cache:6379'"), ("a:secret@cache", "'...@cache'")):
        with pytest.raises(InvalidInput, match=f"{shown} is no URL of a Redis: write redis://host"):
            settings({"LEPTON_REDIS_URL": url})
    named = settings({"LEPTON_REDIS_URL": "redis://cache:6379/0", "LEPTON_REDIS_WAIT_MS": "20"})
    assert (named.redis_url, named.redis_wait_ms) == ("redis://cache:6379/0", 20)
    assert settings({}).redis_url is None
    with pytest.raises(InvalidInput, match=r"LEPTON_REDIS_URL.*Set LEPTON_REDIS_URL anew"):
        settings({"LEPTON_REDIS_URL": "cache:6379"})


def test_origins_are_written_with_commas_or_spaces_between() -> None:
    two = settings({"LEPTON_CORS_ORIGINS": "https://shop.example, http://localhost:3000"})
    assert two.cors_origins == ("https://shop.example", "http://localhost:3000")
    assert settings({"LEPTON_CORS_ORIGINS": "*"}).cors_origins == ("*",)
    assert settings({}).cors_origins == ()
    for wrong in ("shop.example", "https://shop.example/path", "https://a b"):
        with pytest.raises(InvalidInput, match=r"is no origin: write https://shop\.example"):
            settings({"LEPTON_CORS_ORIGINS": wrong})


def test_lepton_s_own_tracking_variable_wins_over_mlflow_s() -> None:
    both = {"LEPTON_TRACKING_URI": "http://ours", "MLFLOW_TRACKING_URI": "http://theirs"}
    assert settings(both).tracking == "http://ours"
    assert settings({"MLFLOW_TRACKING_URI": "http://theirs"}).tracking == "http://theirs"
    assert settings({"LEPTON_HOME": "/h"}).tracking == "sqlite:////h/tracking.db"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LEPTON_PORT", "80"), ("LEPTON_DASHBOARD_PORT", "x"), ("LEPTON_MEMORY_SHARE", "2")],
)
def test_a_bad_value_is_answered_with_the_name_of_its_variable(variable: str, value: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"^{variable} is '{value}'; it must be .*Set {variable} anew"
    ):
        settings({variable: value})


@pytest.mark.parametrize("variable", ["LEPTON_PORT", "LEPTON_DASHBOARD_PORT"])
def test_one_port_is_not_for_both(variable: str) -> None:
    other = {"LEPTON_PORT": "8265", "LEPTON_DASHBOARD_PORT": "8000"}[variable]
    said = rf"LEPTON_DASHBOARD_PORT: {other} is LEPTON_PORT already\. Set LEPTON_DASH"
    with pytest.raises(InvalidInput, match=said):
        settings({variable: other})


def test_an_empty_variable_counts_as_none() -> None:
    assert settings({"RAY_ADDRESS": "", "LEPTON_PORT": ""}).ray_address is None


def test_loopback_is_asked_past_any_proxy() -> None:
    loopback = "localhost,127.0.0.1,::1"
    for environ, lower, upper in (
        ({}, loopback, loopback),
        ({"NO_PROXY": "a.b"}, f"a.b,{loopback}", f"a.b,{loopback}"),
        ({"no_proxy": "a", "NO_PROXY": "*"}, f"a,{loopback}", f"*,{loopback}"),
        ({"no_proxy": loopback}, loopback, loopback),
    ):
        assert direct_loopback(environ) == {"no_proxy": lower, "NO_PROXY": upper}


def test_a_home_that_mlflow_would_not_find_is_refused() -> None:
    for name in ("/a?b", "/a%41b"):
        with pytest.raises(InvalidInput, match=r"LEPTON_HOME is '/a.*MLflow cannot keep its data"):
            settings({"LEPTON_HOME": name})
        assert settings({"LEPTON_HOME": name, "LEPTON_TRACKING_URI": "http://m"}).home == Path(name)


def test_a_user_without_a_home_folder_is_told_to_name_one() -> None:
    with pytest.raises(
        InvalidInput, match=r"LEPTON_HOME: '~nobody-here/x' .* no home folder\. Set"
    ):
        settings({"LEPTON_HOME": "~nobody-here/x"})
