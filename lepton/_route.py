"""Find the way to a Lepton: directly on this machine, elsewhere as the environment says."""

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TypedDict

import httpx

from lepton.errors import BadValue


class Options(TypedDict):
    """What the constructors of httpx's clients are given."""

    proxy: str | None
    verify: ssl.SSLContext | bool
    trust_env: bool


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way to a url.

    Attributes:
        variable: where the environment names it.
        url: where it listens.
    """

    variable: str
    url: str

    @property
    def shown(self) -> str:
        """Its url without a password."""
        return re.sub(r"//[^/@]*@", "//...@", self.url)


def proxy_of(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment wants between here and a url; None to this machine.

    The names are read as curl reads them: in lower case first, ``NO_PROXY`` as suffixes of hosts,
    addresses, networks, or ``*``.
    """
    target = httpx.URL(url)
    if is_loopback(target.host) or _is_excepted(target, _named("no_proxy", environ)[1]):
        return None
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        variable, value = _named(name, environ)
        if value:
            return Proxy(variable, value if "://" in value else f"http://{value}")
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whoever asks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(OSError):  # also 127.1, as the system's resolver reads it
        return socket.inet_aton(host)[0] == 127 or host == "0.0.0.0"  # noqa: S104 - compared
    with suppress(ValueError):
        address = ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)
        return address.is_loopback or address.is_unspecified or bool(mapped and mapped.is_loopback)
    return False


@contextmanager
def options(url: str, environ: Mapping[str, str]) -> Iterator[Options]:
    """What httpx's clients need for this way.

    Raises:
        BadValue: a variable of the environment names what cannot be used; raised in the block, too.
    """
    proxy = proxy_of(url, environ)
    context = _certificates(url, environ)
    try:
        # httpx itself would read the environment for loopback as well
        yield Options(proxy=proxy.url if proxy else None, verify=context, trust_env=False)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        if proxy is None:
            raise
        host = httpx.URL(url).host
        reason = str(error).partition(". ")[0].rstrip(".")
        raise BadValue(
            f"{proxy.variable} is {proxy.shown!r}, which is no proxy to use here: {reason}. "
            f"Unset it, or add {host} to NO_PROXY."
        ) from None


def _certificates(url: str, environ: Mapping[str, str]) -> ssl.SSLContext | bool:
    """The certificates to trust: those that the environment names, else those of httpx."""
    target = httpx.URL(url)
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = environ.get(variable)
        if path and target.scheme == "https":
            try:
                if variable == "SSL_CERT_FILE":
                    return ssl.create_default_context(cafile=path)
                return ssl.create_default_context(capath=path)
            except OSError as error:  # of which ssl.SSLError is one
                if is_loopback(target.host):
                    return True
                raise BadValue(
                    f"{variable} is {path!r}, which holds no certificates to trust: "
                    f"{error.strerror or error}. Name a file in PEM, or unset it."
                ) from None
    return True


def _named(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    for variable in (name, name.upper()):
        if value := environ.get(variable, "").strip():
            return variable, value
    return name, ""


def _is_excepted(target: httpx.URL, exceptions: str) -> bool:
    return any(_fits(target, entry.strip()) for entry in exceptions.split(",") if entry.strip())


def _fits(target: httpx.URL, entry: str) -> bool:
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    with suppress(ValueError):
        return ip_address(target.host) in ip_network(entry.strip("[]"), strict=False)
    name, _, port = entry.rpartition(":") if re.search(r":\d+$", entry) else (entry, "", "")
    if port and int(port) != (target.port or {"http": 80, "https": 443}[target.scheme]):
        return False
    name = name.strip("[]").removeprefix("*").lstrip(".").lower()
    return target.host == name or target.host.endswith(f".{name}")
