"""Hold packed rows in Redis, never waiting for it longer than was said."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cluster.base.errors import Conflict, NotEnough, Unavailable
from cluster.features.online.breaker import Breaker
from cluster.features.online.keeper import LAYOUT, Got, Merge, Put, Want, other_declaration

PREFIX = f"lepton:{LAYOUT}:"
SHELVES = f"{PREFIX}shelves"
"""The hash of what each shelf was declared to hold."""
MOST_TOGETHER = 2_000  # keys that one script is given: others wait while it runs
TRIES = 20  # how often a merge is made again where other writers were quicker
DECLARE = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 0
"""
# The others write nothing to a shelf that is declared otherwise. Lua compares the bytes one by
# one, since its strings are compared as the locale says.
NEWEST_WINS = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end
for place = 3, #ARGV, 2 do
    local held = redis.call('HGET', KEYS[2], ARGV[place])
    local newer = true
    if held then
        for byte = 1, 16 do
            local old, new = held:byte(byte), ARGV[place + 1]:byte(byte)
            if old ~= new then newer = new > old break end
        end
    end
    if newer then redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1]) end
end
return 0
"""
# Of each key: itself, the sum of what it held, how many fields are written and removed, those that
# are written with their values, those that are removed.
SWAP = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end
local lost, place = {}, 3
while place <= #ARGV do
    local key, sum = ARGV[place], ARGV[place + 1]
    local written = place + 4 + 2 * ARGV[place + 2]
    local removed = written + ARGV[place + 3]
    if redis.sha1hex(redis.call('HGET', KEYS[2], key) or '') == sum then
        for put = place + 4, written - 1, 2 do
            redis.call('HSET', KEYS[2], ARGV[put], ARGV[put + 1])
        end
        for gone = written, removed - 1 do redis.call('HDEL', KEYS[2], ARGV[gone]) end
    else
        lost[#lost + 1] = key
    end
    place = removed
end
return lost
"""
# Of each key its value and the parts in which that goes on, as `parts_of` names them.
PARTED = """
local found = {}
for place = 1, #ARGV do
    local value = redis.call('HGET', KEYS[1], ARGV[place])
    found[place] = {value}
    if value then
        local a, b, c, d = value:byte(1, 4)
        for part = 1, a + 256 * (b + 256 * (c + 256 * d)) do
            local name = value:sub(8 * part - 3, 8 * part + 4)
            found[place][part + 1] = redis.call('HGET', KEYS[1], '\\255' .. name .. ARGV[place])
        end
    end
end
return found
"""
NOTE = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return -1 end
for place = 3, #ARGV do redis.call('SADD', KEYS[3], ARGV[place]) end
return 0
"""


class RedisKeeper:
    """A hash for each shelf, in a Redis that keeps everything until it is told otherwise.

    Readers give up after `wait_s`, and stop asking for a while after some failures. Whatever Redis
    lost, the next `materialize` brings back: which files were brought is noted in Redis itself,
    after their rows. One that would drop rows to make room is refused at the first call.

    Args:
        url: `redis://host:port/database`; `rediss` for TLS.
        wait_s: how long a lookup waits, and each step of a push.
        bring_wait_s: how long each step of bringing many rows waits.
    """

    def __init__(self, url: str, *, wait_s: float = 0.05, bring_wait_s: float = 10.0) -> None:
        self.url = url
        self.wait_s = wait_s
        self.bring_wait_s = bring_wait_s
        self._breaker = Breaker("Redis")
        self._quick = _client(url, wait_s / 2)  # once to connect, once to answer
        self._patient = _client(url, bring_wait_s)
        self._keeps_all = False  # as far as is known

    def __reduce__(self) -> tuple[Any, ...]:
        """Connections stay in their process."""
        return (_keeper, (self.url, self.wait_s, self.bring_wait_s))

    def read(self, wants: Sequence[Want]) -> list[Got]:
        """What there is, all of it as of one moment and in one round trip."""
        with self._breaker.call(), self._told(self._quick) as quick:
            pipe = quick.pipeline()
            for want in wants:
                pipe.hget(SHELVES, want.shelf)
                for some in _together(want.keys):
                    if want.parted:
                        pipe.eval(PARTED, 1, _rows(want.shelf), *some)
                    else:
                        pipe.hmget(_rows(want.shelf), some)
            found = iter(pipe.execute())
        return [_got(want, found) for want in wants]

    def shelves(self) -> dict[str, str]:
        """What each shelf that there is was declared to hold."""
        with self._told(self._patient) as patient:
            found = patient.hgetall(SHELVES)
        return {name.decode(): declaration.decode() for name, declaration in found.items()}

    def declared(self, shelves: Sequence[str]) -> list[str | None]:
        """What each shelf was declared to hold, or None."""
        with self._told(self._patient) as patient:
            found = patient.hmget(SHELVES, shelves)
        return [declaration.decode() if declaration else None for declaration in found]

    def declare(self, shelf: str, declaration: str) -> None:
        """Forget what is on the shelf, if that is declared otherwise; from now on it holds this."""
        with self._told(self._patient) as patient:
            _run(patient, DECLARE, shelf, [declaration])

    def files(self, shelf: str) -> set[str]:
        """The names of the data files that were brought."""
        with self._told(self._patient) as patient:
            found = patient.smembers(_files(shelf))
        return {name.decode() for name in found}

    def files_now(self, shelves: Sequence[str]) -> list[set[str]]:
        """The same of some shelves: it gives up as soon as a lookup does."""
        with self._breaker.call(), self._told(self._quick) as quick:
            pipe = quick.pipeline()
            for shelf in shelves:
                pipe.smembers(_files(shelf))
            found = pipe.execute()
        return [{name.decode() for name in names} for names in found]

    def forget(self, shelf: str, names: Sequence[str]) -> None:
        """Note no longer that some files were brought; their rows stay."""
        with self._told(self._patient) as patient:
            for start in range(0, len(names), MOST_TOGETHER):
                patient.srem(_files(shelf), *names[start : start + MOST_TOGETHER])

    def change(self, changes: Sequence[Put | Merge]) -> None:
        """Write, some keys at a time; the files are noted once all rows are there."""
        with self._told(self._patient) as patient:
            _write(patient, changes)

    def erase(self, changes: Sequence[Merge]) -> None:
        """The same: what Redis writes to files of its own it rewrites when it is told to."""
        self.change(changes)

    def change_now(self, changes: Sequence[Put | Merge]) -> None:
        """The same for a few rows: it gives up as soon as a lookup does."""
        with self._breaker.call(), self._told(self._quick) as quick:
            _write(quick, changes)

    def close(self) -> None:
        """End all connections."""
        self._quick.close()
        self._patient.close()

    @contextmanager
    def _told(self, client: Any) -> Iterator[Any]:
        """What Redis says, in a sentence."""
        try:
            if not self._keeps_all:
                _refuse_eviction(client)
                self._keeps_all = True
            yield client
        except redis.OutOfMemoryError as error:
            raise NotEnough(
                f"Redis is full: {error}.", hint="Give it more memory: its setting maxmemory."
            ) from None
        except redis.RedisError as error:
            raise Unavailable(
                f"Redis does not answer: {str(error).rstrip('.')}.",
                hint="See that it runs at LEPTON_REDIS_URL. What it misses meanwhile is brought by "
                "python -m services materialize",
                retry_after_s=1,
            ) from None


def _client(url: str, wait_s: float) -> Any:
    return redis.Redis.from_url(
        url,
        socket_timeout=wait_s,
        socket_connect_timeout=wait_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _refuse_eviction(client: Any) -> None:
    """What was evicted would be told as missing, and never be brought again.

    Rows here never expire, so that the policies for keys that do keep them.
    """
    try:
        said = client.config_get("maxmemory*")
    except redis.ResponseError:  # it may not be asked, as with some that are hosted
        return
    policy = said.get("maxmemory-policy", "")
    if policy.startswith("allkeys") and said.get("maxmemory") != "0":
        raise Conflict(
            f"Redis would drop rows when it is full: its maxmemory-policy is {policy!r}.",
            hint="Set that to noeviction. If it dropped some already, empty its database and bring "
            "all anew: python -m services materialize",
        )


def _keeper(url: str, wait_s: float, bring_wait_s: float) -> RedisKeeper:
    return RedisKeeper(url, wait_s=wait_s, bring_wait_s=bring_wait_s)


def _rows(shelf: str) -> str:
    return f"{PREFIX}rows:{shelf}"


def _files(shelf: str) -> str:
    return f"{PREFIX}files:{shelf}"


def _together(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + MOST_TOGETHER] for start in range(0, len(keys), MOST_TOGETHER))


def _got(want: Want, answers: Iterator[Any]) -> Got:
    """What Redis answered of a want, which it was asked in several parts."""
    declaration: bytes | None = next(answers)
    declared = declaration.decode() if declaration else None
    found = [one for _ in _together(want.keys) for one in next(answers)]
    if not want.parted:
        return Got(declared, found)
    parts = {place: some for place, (_, *some) in enumerate(found) if some}
    return Got(declared, [value for value, *_ in found], parts)


def _write(client: Any, changes: Sequence[Put | Merge]) -> None:
    for change in changes:
        for start in range(0, len(change.keys), MOST_TOGETHER):
            part = slice(start, start + MOST_TOGETHER)
            if isinstance(change, Merge):
                _merge(client, change, list(change.keys[part]))
            else:
                pairs = zip(change.keys[part], change.values[part], strict=True)
                _write_by(client, NEWEST_WINS, change, [word for pair in pairs for word in pair])
        for start in range(0, len(change.files), MOST_TOGETHER):
            _write_by(client, NOTE, change, change.files[start : start + MOST_TOGETHER])


def _merge(client: Any, change: Merge, keys: list[str]) -> None:
    """Merges the values of some keys, again where somebody else changed them meanwhile."""
    lacking = keys
    for _ in range(TRIES):
        held: list[bytes | None] = client.hmget(_rows(change.shelf), lacking)
        made = change.merger.merged(lacking, held, _parts(client, change, lacking, held))
        words: list[Any] = []
        for key, old, new in zip(lacking, held, made, strict=True):
            words += [key, hashlib.sha1(old or b"").hexdigest()]  # noqa: S324 - no secret
            own = [] if new.whole is None else [(key, new.whole)]
            gone = [*new.gone, *([key] if new.whole is None else [])]
            words += [len(own) + len(new.parts), len(gone)]
            words += [word for part in (*own, *new.parts.items()) for word in part]
            words += gone
        lost = _write_by(client, SWAP, change, words)
        lacking = [key.decode() for key in lost]
        if not lacking:
            return
    raise Unavailable(
        f"Other writers were quicker {TRIES} times at {lacking[0]!r}.",
        hint="Try again when fewer write at once.",
    )


def _parts(
    client: Any, change: Merge, keys: list[str], held: list[bytes | None]
) -> dict[bytes, bytes]:
    """The parts that a merge must see; one that is gone by now was another writer's to remove."""
    names = change.merger.touched(keys, held)
    found = client.hmget(_rows(change.shelf), names) if names else []
    return {name: part for name, part in zip(names, found, strict=True) if part is not None}


def _write_by(client: Any, script: str, change: Put | Merge, arguments: Sequence[Any]) -> Any:
    result = _run(client, script, change.shelf, [change.declaration, *arguments])
    if result == -1:
        raise other_declaration(change.shelf)
    return result


def _run(client: Any, script: str, shelf: str, arguments: Sequence[Any]) -> Any:
    keys = [SHELVES, _rows(shelf), _files(shelf)]
    return client.register_script(script)(keys=keys, args=[shelf, *arguments])
