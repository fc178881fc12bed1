"""Recommend what a person is likely to want next, from what people took before."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FailFast, Field
from scipy import sparse

from cluster.contract import (
    Batch,
    Between,
    Key,
    Objective,
    PerUser,
    Rows,
    Run,
    Serving,
    Task,
    View,
    length,
    load_arrays,
    objects,
    save_arrays,
)
from cluster.contract import (
    Config as BaseConfig,
)
from cluster.features.schema.raw import KEY_CHARACTERS
from cluster.features.views.activity import user_history
from cluster.features.views.interactions import interactions, items, users
from cluster.features.views.item_vectors import item_image_vector, item_text_vector
from recsys._content import Content, categories_of, csr_arrays, csr_of, nothing
from recsys._ease import Ease
from recsys._ials import Ials, Knobs, OnEpoch
from recsys._interactions import Log, held_out, netted, pairs_of, read
from recsys._ranking import by_blocks, ndcg, ndcg_of_scores, recall, top_k
from recsys._views import named

Ids = Annotated[list[Annotated[Key, Field(min_length=1, max_length=KEY_CHARACTERS)]], FailFast()]


class Config(BaseConfig):
    """The method and its knobs; with `choose`, those of `GRIDS` are chosen on training rows.

    `views` names further views of items or of users to learn from.
    """

    method: Literal["ease", "ials"] = "ease"
    choose: bool = True
    slope: Annotated[float, Between(0.0, 2.0)] = 0.15
    ridge: Annotated[float, Between(0.1, 1e5, log=True)] = 200.0
    user_power: Annotated[float, Between(0.0, 1.0)] = 0.4
    item_power: Annotated[float, Between(0.0, 1.0)] = 0.1
    dim: Annotated[int, Between(1, 1_024)] = 128
    penalty: Annotated[float, Between(1e-5, 10.0, log=True)] = 0.01
    alpha0: Annotated[float, Between(1e-4, 10.0, log=True)] = 0.3
    nu: Annotated[float, Between(0.0, 2.0)] = 1.0
    epochs: Annotated[int, Between(1, 500)] = 16
    content_ridge: Annotated[float, Between(1e-3, 1e3, log=True)] = 0.5
    content_width: Annotated[float, Between(0.05, 5.0, log=True)] = 0.6
    untouched_share: Annotated[float, Between(0.0, 2.0)] = 0.7
    trait_weight: Annotated[float, Between(0.01, 10.0, log=True)] = 0.3
    views: tuple[str, ...] = ()


GRIDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "ease": {"ridge": (100.0, 200.0, 400.0)},
    "ials": {"penalty": (0.005, 0.01, 0.02)},
}
TRAIT_GRID = {"trait_weight": (0.1, 0.3, 1.0)}  # where something is said of users


class Input(BaseModel):
    """Who asks, and what may be shown."""

    model_config = ConfigDict(extra="forbid")

    user_id: Key = Field(
        "", max_length=KEY_CHARACTERS, description="A user of the training data, if known."
    )
    items: Ids = Field([], max_length=10_000, description="What a newcomer took so far.")
    k: int = Field(10, ge=1, le=1_000, description="How many items to show.")
    exclude_seen: bool = Field(
        default=False, description="Leave out what the user took before, or returned."
    )
    exclude: Ids = Field([], max_length=10_000, description="Items never to show.")
    categories: Annotated[list[Key], FailFast()] = Field(
        [], max_length=100, description="Show only items of any of these."
    )


class Output(BaseModel):
    """Items, best first; fewer than k where fewer are allowed."""

    items: list[str]
    scores: list[float]
    basis: Literal["user", "items", "recent", "popular"] = Field(
        description="What the ranking rests on: the user's history and what views say of the "
        "user, the items sent, what someone new took since the training, or popularity."
    )
    unknown: list[str] = Field([], description="Items and categories sent that are not known.")


class Recommend(Task[Config, Input, Output]):
    """Recommend what a person is likely to want next.

    An item that nobody has touched is ranked by what its tables say of it: see `Content`. What
    tables say of users counts beside what they took: see `Log.told`.
    """

    inputs = users
    examples = interactions
    live = (user_history,)
    tables = (items, item_image_vector, item_text_vector)
    truth: ClassVar[tuple[str, ...]] = ("item_id",)
    split = PerUser(valid=0.0, test=0.25)
    objective = Objective("max", "ndcg_at_10")
    serving = Serving(max_batch=64)
    parallel = True

    @classmethod
    def tables_for(cls, config: Config, find: Callable[[str], View]) -> tuple[View, ...]:
        """The views of items that are always read, and those that `views` names."""
        return (*cls.tables, *named(config.views, cls.tables, find))

    def fit(self, train: Rows, valid: Rows, run: Run) -> None:
        """Number users and items over all workers, choose knobs if asked, and fit."""
        del valid
        shards = run.all_gather(dict(train.whole()))
        tables = run.tables.values()
        self.log = read(shards).told([table for table in tables if "user_id" in table])
        catalogue = run.table(items)
        known = set(self.log.items[self.log.traits :])
        self.untouched = sorted({str(name) for name in catalogue["item_id"]} - known)
        self.categories = categories_of(catalogue, self._items)
        if self.config.choose:
            self.config = self._choose(run)
        steps = self.config.epochs
        self.model = _fit(
            self.config, self.log, run, lambda step: run.report(step=step, steps=steps, epoch=step)
        )
        self.alike = nothing(len(self.log.items))
        if self.untouched:
            content = Content.of([table for table in tables if "item_id" in table], self.names)
            taken = self._popularity[: len(self.log.items)]
            ridge, width = self.config.content_ridge, self.config.content_width
            vectors = content.vectors(self.model.vectors, taken, ridge=ridge, width=width)
            # in a catalogue of some age, what nobody took yet is liked less than content tells
            self.model = self.model.joined(vectors * np.float32(self.config.untouched_share))
            self.alike = content.alike(len(self.log.items))

    def _choose(self, run: Run) -> Config:
        """Try each knob of the grid in turn on pairs held out inside the training part."""
        held = held_out(self.log, share=0.25, seed=run.seed)
        kept, wanted = self.log.part(~held), self.log.part(held).matrix()
        best, shown = self.config, slice(self.log.traits, None)
        asked = np.flatnonzero(wanted[:, shown].getnnz(axis=1))  # tables may name many others
        seen, wanted = kept.matrix()[asked, shown], wanted[asked, shown]

        def value(config: Config) -> float:
            model, histories = _fit(config, kept, run), _matrix(config, kept)
            known: Any = model.users if isinstance(model, Ials) else histories
            scores = model.scores(known[asked])[:, shown]
            return float(run.agree(ndcg_of_scores(scores, seen, wanted)))

        top = value(best)
        of_traits = TRAIT_GRID if self.log.traits else {}
        for knob, values in {**GRIDS[self.config.method], **of_traits}.items():
            for setting in values:
                if setting == getattr(best, knob):
                    continue
                tried = best.model_copy(update={knob: setting})
                if (found := value(tried)) > top:
                    best, top = tried, found
        return best

    def predict(self, batch: Batch) -> list[Output]:
        """Score every item for each row, strike out what may not be shown, keep the best."""
        histories, basis, unknown, stored = self._histories(batch)
        for names, categories in zip(unknown, batch["categories"], strict=True):
            names += [name for name in categories if name not in self.categories]
        scores = np.asarray(self._score(histories, batch, stored), dtype=np.float64)
        popular = [row for row, kind in enumerate(basis) if kind == "popular"]
        scores[popular] = self._popularity
        for row in range(length(batch)):
            scores[row, self._struck_out(batch, row)] = -np.inf
        ranked, best = top_k(scores, int(max(batch["k"])))
        return [
            self._output(ranked[row][:k], best[row][:k], basis[row], unknown[row])
            for row, k in enumerate(batch["k"])
        ]

    def score(self, batch: Batch, outputs: Sequence[Output]) -> dict[str, float]:
        """Ranking of all unseen items against what each user took in the held-out rows."""
        shown, taken = [o.items for o in outputs], list(batch["item_id"])
        return {
            "ndcg_at_10": ndcg(shown, taken, 10),
            "recall_at_10": recall(shown, taken, 10),
            "coverage_at_10": len({i for o in outputs for i in o.items[:10]}) / len(self._items),
        }

    def questions(self, examples: Batch) -> Batch:
        """One question per user who took held-out items: all whose values add up to more than 0."""
        taken = pairs_of(examples).by_user()
        return {
            "user_id": objects(taken),
            "item_id": objects(taken.values()),
            "exclude_seen": np.ones(len(taken), dtype=bool),
            "k": np.full(len(taken), 20),
        }

    def details(self, batch: Batch, outputs: Sequence[Output]) -> str:
        """The ranking table: the model beside popularity, at several depths."""
        taken = list(batch["item_id"])
        nobody = {**batch, "user_id": objects([""] * len(taken))}
        seen = [self._seen(str(user)) for user in batch["user_id"]]
        names = self.names
        nobody["exclude"] = objects([names[i] for i in row] for row in seen)
        plain = [o.items for o in self.predict(self.complete(nobody))] if taken else []
        lines = [
            "## Ranking",
            "",
            "| at | NDCG | recall | NDCG of popularity |",
            "|---|---|---|---|",
        ]
        shown = [o.items for o in outputs]
        lines += [
            f"| {k} | {ndcg(shown, taken, k):.4f} | {recall(shown, taken, k):.4f} "
            f"| {ndcg(plain, taken, k):.4f} |"
            for k in (1, 5, 10, 20)
        ]
        return "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Write config, ids, categories, who took what, and the model's arrays."""
        super().save(folder)
        ids = {
            "users": self.log.users,
            "items": self.log.items,
            "untouched": self.untouched,
            "traits": self.log.traits,
            "categories": self.categories,
            "refused": self.log.refused,
        }
        (folder / "ids.json").write_text(json.dumps(ids, ensure_ascii=False))
        log = {"user": self.log.user, "item": self.log.item, "value": self.log.value}
        save_arrays(log, folder / "log.safetensors")
        save_arrays(self.model.arrays(), folder / "weights.safetensors")
        save_arrays(csr_arrays(self.alike), folder / "alike.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        task = super().load(folder)
        ids = json.loads((folder / "ids.json").read_bytes())
        pairs = load_arrays(folder / "log.safetensors")
        refused = ids.get("refused", {})  # earlier versions have none
        task.log = Log(ids["users"], ids["items"], **pairs, traits=ids["traits"], refused=refused)
        task.untouched, task.categories = ids["untouched"], ids["categories"]
        task.alike = csr_of(load_arrays(folder / "alike.safetensors"), len(task.log.items))
        arrays = load_arrays(folder / "weights.safetensors")
        ials = task.config.method == "ials"
        task.model = Ials(**arrays, knobs=_knobs(task.config)) if ials else Ease.of(arrays)
        return task

    def _histories(
        self, batch: Batch
    ) -> tuple[sparse.csr_matrix, list[str], list[list[str]], list[int]]:
        """Each row's items as weights, and what is to be known of the row.

        Returns:
            `[rows, learnt]`; what the row's ranking rests on; the items sent that are not known;
            the user's number where the history is the one of the training, or -1.
        """
        rows, columns, data, basis, unknown, stored = [], [], [], [], [], []
        for row, sent in enumerate(batch["items"]):
            entries = self._entries(batch["user_id"][row])
            lately, refused = self._recent(batch, row)
            gone = [item for item in refused if entries.pop(item, 0.0)]
            history = any(item >= self.log.traits for item in entries)
            brought = self._numbers(sent)
            recent = [item for item in lately if item not in entries]
            entries.update({item: 1.0 for item in (*brought, *recent) if item not in entries})
            rows += [row] * len(entries)
            columns += list(entries)
            data += list(entries.values())
            known = "user" if history or (entries and not recent) else ""
            basis.append("items" if brought else known or ("recent" if recent else "popular"))
            unknown.append([item for item in sent if item not in self._items])
            as_learnt = known and not (brought or recent or gone)
            stored.append(self._users[batch["user_id"][row]] if as_learnt else -1)
        shape = (length(batch), len(self.names))
        given = sparse.csr_matrix((data, (rows, columns)), shape=shape)
        learnt = len(self.log.items)
        stand_in = given[:, learnt:] @ self.alike
        return sparse.csr_matrix(given[:, :learnt] + stand_in), basis, unknown, stored

    def _entries(self, user: str) -> dict[int, float]:
        """The weight of each item that the user had when the model learnt."""
        known = self._users.get(user, -1)
        start, end = self._taken.indptr[known : known + 2] if known >= 0 else (0, 0)
        taken = slice(start, end)
        return dict(
            zip(self._taken.indices[taken].tolist(), self._taken.data[taken].tolist(), strict=True)
        )

    def _recent(self, batch: Batch, row: int) -> tuple[list[int], list[int]]:
        """What the user took lately, and returned or disliked, where the replica looked it up."""
        if "recent_items" not in batch:
            return [], []
        taken, refused = netted(batch["recent_items"][row], batch["recent_values"][row])
        return self._numbers(taken), self._numbers(refused)

    def _score(self, histories: sparse.csr_matrix, batch: Batch, stored: list[int]) -> Any:
        if isinstance(self.model, Ease):
            return by_blocks(self.model.scores, histories)
        factors = np.zeros((histories.shape[0], self.model.knobs.dim))
        numbers = np.array(stored)
        folded = np.flatnonzero(numbers < 0)
        factors[folded] = self.model.fold_in(histories[folded])
        factors[numbers >= 0] = self.model.users[numbers[numbers >= 0]]
        return by_blocks(self.model.scores, factors)

    def _struck_out(self, batch: Batch, row: int) -> NDArray[np.bool_]:
        """Items that this row may not be shown."""
        struck = np.arange(len(self.names)) < self.log.traits
        if wanted := batch["categories"][row]:
            struck[:] = True
            struck[[i for name in wanted for i in self.categories.get(name, ())]] = False
        if batch["exclude_seen"][row]:
            struck[self._seen(batch["user_id"][row])] = True
            struck[self._numbers(batch["items"][row])] = True
            for items_of in self._recent(batch, row):
                struck[items_of] = True
        struck[self._numbers(batch["exclude"][row])] = True
        return struck

    def _seen(self, user: str) -> NDArray[Any]:
        """What the user took, and what they returned or disliked."""
        refused = self._numbers(self.log.refused.get(user, ()))
        return np.array([*self._entries(user), *refused], dtype=np.int64)

    def _numbers(self, names: Sequence[str]) -> list[int]:
        return [self._items[name] for name in names if name in self._items]

    def _output(
        self, ranked: NDArray[Any], best: NDArray[Any], basis: Any, unknown: list[str]
    ) -> Output:
        shown = ranked >= 0
        names = [self.names[item] for item in ranked[shown]]
        return Output(items=names, scores=best[shown].tolist(), basis=basis, unknown=unknown)

    @cached_property
    def _users(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.log.users)}

    @cached_property
    def _items(self) -> dict[str, int]:
        return {n: number for number, n in enumerate(self.names) if number >= self.log.traits}

    @cached_property
    def names(self) -> list[str]:
        """Every item: traits, those of the training rows, then those that nobody has touched."""
        return [*self.log.items, *self.untouched]

    @cached_property
    def _taken(self) -> sparse.csr_matrix:
        return _matrix(self.config, self.log)

    @cached_property
    def _popularity(self) -> NDArray[np.float64]:
        return np.bincount(self.log.item, minlength=len(self.names)).astype(np.float64)


def _fit(config: Config, log: Log, run: Run, on_epoch: OnEpoch = lambda _: None) -> Ease | Ials:
    x = _matrix(config, log)
    if config.method == "ials":
        return Ials.fit(x, _knobs(config), run, on_epoch)
    return Ease.fit(
        x, ridge=config.ridge, user_power=config.user_power, item_power=config.item_power
    )


def _matrix(config: Config, log: Log) -> sparse.csr_matrix:
    return log.matrix(config.slope, config.trait_weight)


def _knobs(config: Config) -> Knobs:
    return Knobs(config.dim, config.penalty, config.alpha0, config.nu, config.epochs)
