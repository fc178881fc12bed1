"""Ask Ray's dashboard what runs on a cluster, and tell it what should.

Where nothing answers, nothing runs; an answer that refuses is an error with its words.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from cluster.base.errors import Conflict, Unavailable

APPLICATIONS: Final = "/api/serve/applications/"


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of a Ray on this machine.

    Attributes:
        url: where it listens.
        token_file: holds what opens it.
    """

    url: str
    token_file: Path

    def answers(self) -> bool:
        """Whether it knows of Serve by now."""
        return self._ask("GET", APPLICATIONS) is not None

    def start_serve(self, host: str, port: int) -> bool:
        """Let Serve listen there, with no application yet; whether that was heard."""
        options = {"host": host, "port": port}
        wanted = {"proxy_location": "HeadOnly", "http_options": options, "applications": []}
        return self._ask("PUT", APPLICATIONS, wanted) is not None

    def serves(self) -> bool:
        """Whether Serve's own proxies run: anybody may answer at a port."""
        state = self._ask("GET", APPLICATIONS) or {}
        proxies = (state.get("proxies") or {}).values()
        return bool(proxies) and all(proxy["status"] == "HEALTHY" for proxy in proxies)

    def drain(self, *, wait_s: float) -> None:
        """Delete every application: Serve answers what it has begun."""
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            state = self._ask("GET", APPLICATIONS)
            if not state or not state.get("applications"):
                return
            if all(app["status"] != "DELETING" for app in state["applications"].values()):
                self._ask("DELETE", APPLICATIONS, timeout_s=wait_s)
            time.sleep(0.1)

    def drivers(self) -> list[int]:
        """The processes that joined the cluster to give it work, without this one."""
        jobs = self._ask("GET", "/api/jobs/") or []
        told = [job["driver_info"] for job in jobs if job["status"] == "RUNNING"]
        found = {int(driver["pid"]) for driver in told if driver}
        return sorted(found - {os.getpid()})

    def end_drivers(self, *, wait_s: float) -> list[int]:
        """Ask them to leave while Ray still runs: it would hang them for a minute, then abort.

        Returns:
            Who left.
        """
        asked = self.drivers()
        for pid in asked:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        deadline, left = time.monotonic() + wait_s, asked
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = self.drivers()
        return sorted(set(asked) - set(left))

    def usage(self) -> dict[str, tuple[float, float]]:
        """How much of each resource is taken, and how much there is."""
        state = self._ask("GET", "/api/cluster_status") or {}
        report = state.get("data", {}).get("clusterStatus", {}).get("loadMetricsReport", {})
        return report.get("usage", {})  # type: ignore[no-any-return]

    def _ask(self, method: str, path: str, body: Any = None, *, timeout_s: float = 10.0) -> Any:
        """What it answers; None where nothing answers.

        Raises:
            Conflict: it does not know our token, or is no dashboard.
            Unavailable: it cannot do that now.
        """
        try:
            answer = httpx.request(
                method,
                self.url + path,
                json=body,
                headers={"Authorization": f"Bearer {self._token()}"},
                timeout=timeout_s,
                trust_env=False,  # no proxy stands between this machine and itself
            )
        except httpx.HTTPError:
            return None
        if answer.status_code in {401, 403}:
            raise Conflict(
                f"Ray's dashboard at {self.url} refuses the token in {self.token_file}.",
                hint="One of them is not what `up` left here: python -m services down, then up.",
            )
        if not answer.is_success:
            raise Unavailable(
                f"Ray's dashboard at {self.url} answers {method} {path} with status "
                f"{answer.status_code}: {answer.text[:200].strip() or 'no words'}"
            )
        try:
            return answer.json() if answer.content else {}
        except ValueError:
            raise Conflict(
                f"What answers at {self.url} is not Ray's dashboard.",
                hint="Stop that, or choose another port with LEPTON_DASHBOARD_PORT.",
            ) from None

    def _token(self) -> str:
        with suppress(FileNotFoundError):
            return self.token_file.read_text().strip()
        return "lost"  # it will be refused, with a sentence that names the file
