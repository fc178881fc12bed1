"""The environment's proxies and certificates: never for this machine, named where they fail."""

import asyncio

import pytest

from lepton import AsyncClient, BadValue, Client, ConnectError
from lepton._route import is_loopback, proxy_of
from tests.lepton.test_network import QUICK, Server

BROKEN = {
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "all_proxy": "nonsense://[",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "[::1],fe80::/10,,*.b",
    "SSL_CERT_FILE": "/nonexistent",
    "SSL_CERT_DIR": "/nonexistent",
}
ELSEWHERE = "http://lepton.invalid:8000"


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies and certificates."""
    for name in {*BROKEN, "HTTPS_PROXY", "no_proxy"}:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", [*BROKEN, "all of them"])
def test_this_machine_is_asked_directly(clean: pytest.MonkeyPatch, variable: str) -> None:
    for name, value in BROKEN.items():
        if variable in {name, "all of them"}:
            clean.setenv(name, value)

    async def ask(url: str) -> int:
        async with AsyncClient(url, backoff=QUICK) as client:
            return len(await client.tasks())

    server = Server()
    try:
        with Client(server.url, backoff=QUICK) as client:
            assert len(client.tasks()) == 3
        assert asyncio.run(ask(server.url)) == 3
        Client("https://localhost:1").close()
    finally:
        server.close()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", ELSEWHERE),
        ("all_proxy", "nonsense://a", ELSEWHERE),
        ("http_proxy", "http://a:b:c", ELSEWHERE),
        ("HTTPS_PROXY", "ftp://a", "https://lepton.invalid"),
        ("SSL_CERT_FILE", "/nonexistent", "https://lepton.invalid"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    clean: pytest.MonkeyPatch,
    kind: type[Client] | type[AsyncClient],
    variable: str,
    value: str,
    url: str,
) -> None:
    clean.setenv(variable, value)
    with pytest.raises(BadValue) as refused:
        kind(url)
    assert str(refused.value).startswith(f"{variable} is '{value}', which ")


def test_a_proxy_that_does_not_lead_there_is_named_without_its_password(
    clean: pytest.MonkeyPatch,
) -> None:
    clean.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with Client(ELSEWHERE, backoff=QUICK, retries=0) as client, pytest.raises(ConnectError) as met:
        client.tasks()
    said = str(met.value)
    assert "the proxy http://...@127.0.0.1:9, which HTTP_PROXY names" in said
    assert "Add lepton.invalid to NO_PROXY" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("exceptions", "is_asked"),
    [
        ("", True),
        ("*", False),
        ("a.b", False),
        (".b", False),
        ("*.b", False),
        ("A.B:8000", False),
        ("a.b:9", True),
        ("xa.b,c", True),
        ("c , a.b", False),
        ("http://a.b", False),
    ],
)
def test_no_proxy_names_hosts_as_elsewhere(exceptions: str, *, is_asked: bool) -> None:
    environ = {"HTTP_PROXY": "proxy:3128", "NO_PROXY": exceptions}
    found = proxy_of("http://a.b:8000", environ)
    assert (found is not None) == is_asked
    if found:
        assert (found.variable, found.url) == ("HTTP_PROXY", "http://proxy:3128")


def test_no_proxy_names_networks_and_the_lower_case_name_is_read_first() -> None:
    environ = {"ALL_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8, fd00::/8"}
    assert proxy_of("http://10.1.2.3:8000", environ) is None
    assert proxy_of("http://[fd00::1]:8000", environ) is None
    assert proxy_of("http://11.1.2.3:8000", environ)
    assert proxy_of("http://10.1.2.3:8000", environ | {"no_proxy": "other"})


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", True),  # noqa: S104 - a name, not bound
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("10.0.0.1", False),
        ("127.evil.example", False),
        ("localhost.example", False),
    ],
)
def test_this_machine_has_many_names(host: str, *, here: bool) -> None:
    assert is_loopback(host) == here
