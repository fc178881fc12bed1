"""Read every setting from the environment, and say which variable is wrong."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from cluster.base.errors import InvalidInput
from cluster.base.faults import faults

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Settings(BaseModel):
    """Where things are and how much they may take; beside each field stands its variable."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    home: Path = Field(Path("~/.lepton"), validation_alias="LEPTON_HOME", validate_default=True)
    host: str = Field("127.0.0.1", validation_alias="LEPTON_HOST")
    port: int = Field(8000, ge=1024, le=65535, validation_alias="LEPTON_PORT")
    dashboard_port: int = Field(
        8265, ge=1024, le=65535, validation_alias="LEPTON_DASHBOARD_PORT", validate_default=True
    )
    ray_address: str | None = Field(None, validation_alias="RAY_ADDRESS")
    tracking_uri: str | None = Field(
        None, validation_alias=AliasChoices("LEPTON_TRACKING_URI", "MLFLOW_TRACKING_URI")
    )
    num_cpus: int | None = Field(None, ge=1, validation_alias="LEPTON_NUM_CPUS")
    object_store_mb: int | None = Field(None, ge=80, validation_alias="LEPTON_OBJECT_STORE_MB")
    # the share of memory that resident training data may take; beyond it, rows are streamed
    memory_share: float = Field(0.3, ge=0, le=0.9, validation_alias="LEPTON_MEMORY_SHARE")
    # about how many seconds of training a crash may cost
    checkpoint_s: float = Field(30.0, gt=0, validation_alias="LEPTON_CHECKPOINT_S")
    # the share of served batches that is kept for `features check` and `features drift`, and how
    # many megabytes of each capability
    log_share: float = Field(1.0, ge=0, le=1, validation_alias="LEPTON_LOG_SHARE")
    log_mb: int = Field(64, ge=8, validation_alias="LEPTON_LOG_MB")
    # where rows are looked up by key; without one, in an SQLite file under home
    redis_url: str | None = Field(None, validation_alias="LEPTON_REDIS_URL")
    # how long a lookup or a push waits for Redis
    redis_wait_ms: int = Field(50, ge=2, le=10_000, validation_alias="LEPTON_REDIS_WAIT_MS")
    # the proxy refuses a longer request before a replica sees it
    body_limit_mb: int = Field(16, ge=1, le=1024, validation_alias="LEPTON_BODY_LIMIT_MB")

    # whose web pages may ask: https://shop.example, several of them, or * for all
    cors_origins: tuple[str, ...] = Field((), validation_alias="LEPTON_CORS_ORIGINS")

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        origins = tuple(re.split(r"[\s,]+", value.strip())) if isinstance(value, str) else value
        for origin in origins if isinstance(origins, tuple) else ():
            if not re.fullmatch(r"\*|https?://[^/\s]+", origin):
                raise ValueError(
                    f"{origin!r} is no origin: write https://shop.example without a path, or *"
                )
        return origins

    @field_validator("home")
    @classmethod
    def _whole_path(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError:  # no HOME, and no entry of this user in /etc/passwd
            raise ValueError(
                f"{str(home)!r} cannot be found, as this user has no home folder"
            ) from None

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"(rediss?|unix)://", url):
            shown = re.sub(r"[^/@]*@", "...@", url)  # a password is not for logs
            raise ValueError(
                f"{shown!r} is no URL of a Redis: write redis://host:6379/0, rediss://... with "
                "TLS, or unix:///path"
            )
        return url

    @field_validator("dashboard_port")
    @classmethod
    def _port_of_its_own(cls, port: int, others: ValidationInfo) -> int:
        if port == others.data.get("port"):
            raise ValueError(f"{port} is LEPTON_PORT already")
        return port

    @property
    def url(self) -> str:
        """Where the services are reached from this machine."""
        everywhere = self.host in {"0.0.0.0", "::"}  # noqa: S104 - compared here, never bound
        return f"http://{'127.0.0.1' if everywhere else self.host}:{self.port}"

    @property
    def requests(self) -> Path:
        """Where each capability's served requests are logged, in a folder of its name."""
        return self.home / "requests"

    @property
    def tracking(self) -> str:
        """The tracking server, or the SQLite file under home that stands in for one."""
        return self.tracking_uri or f"sqlite:///{self.home / 'tracking.db'}"


def settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment names; an empty variable counts as none.

    Raises:
        InvalidInput: a variable holds a value that breaks its type or bound.
    """
    named = {
        name: value for name, value in (_environ() if environ is None else environ).items() if value
    }
    try:
        found = Settings.model_validate(named)
    except ValidationError as error:
        name, message = str(error.errors()[0]["loc"][0]), faults(error, Settings)[0].message
        if name in Settings.model_fields:  # a default is wrong beside what another variable says
            variable = str(Settings.model_fields[name].validation_alias)
            message, name = message.replace(name, variable, 1), variable
        raise InvalidInput(message, hint=f"Set {name} anew, or unset it.") from None
    # MLflow passes the path on in a URL, where neither stays what it is: the file lands elsewhere
    if found.tracking_uri is None and re.search(r"[?%]", str(found.home)):
        raise InvalidInput(
            f"LEPTON_HOME is {str(found.home)!r}; MLflow cannot keep its database in a folder with "
            "? or % in its path.",
            hint="Choose another folder, or name an MLflow server with LEPTON_TRACKING_URI.",
        )
    return found


def environment(**added: str) -> dict[str, str]:
    """This process's environment with variables added: what a child is started with."""
    return {**_environ(), **added}


def direct_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY in both spellings, so that no proxy stands between this machine and itself.

    gRPC and MLflow read the lower-case names first and know no exception for loopback.
    """
    known = {name: environ.get(name, "") for name in ("no_proxy", "NO_PROXY")}
    either = known["no_proxy"] or known["NO_PROXY"]
    return {
        name: ",".join(dict.fromkeys([*filter(None, (own or either).split(",")), *LOOPBACK]))
        for name, own in known.items()
    }


def export(**added: str) -> None:
    """Put variables into this process's environment, for libraries that look there."""
    os.environ.update(added)  # noqa: TID251 - here and nowhere else


def _environ() -> Mapping[str, str]:
    return os.environ  # noqa: TID251 - here and nowhere else
