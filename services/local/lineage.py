"""Draw where features come from and who reads them, as an SVG picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cluster.contract.task import AnyTask
from cluster.features.derived.computed import Computed
from cluster.features.derived.graph import Graph
from cluster.features.derived.modelview import ModelView
from cluster.features.derived.outcomes import Outcomes
from cluster.features.derived.windows import Windows
from cluster.features.schema.view import View

WIDTH, HEIGHT = 216, 50  # pixels of a box
ACROSS, DOWN = 88, 22  # pixels between boxes
MARGIN, LEGEND = 24, 44
FILLS = {
    "source": "#dbeafe",
    "windows": "#dcfce7",
    "outcomes": "#ffe4e6",
    "computed": "#fef3c7",
    "model": "#ede9fe",
    "capability": "#e5e7eb",
}
TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="tip" d="M0 0L8 4L0 8Z"/></marker>'
)
STYLE = (
    "text{font-family:system-ui,sans-serif;fill:#111827}.name{font-size:13px;font-weight:600}"
    ".what{font-size:11px;fill:#4b5563}path{fill:none;stroke:#6b7280;stroke-width:1.4}"
    ".makes{stroke-dasharray:5 4}rect{stroke:#9ca3af}.tip{fill:#6b7280;stroke:none}"
)


@dataclass(frozen=True)
class Box:
    """A view or a capability.

    Attributes:
        name: what stands in it.
        what: the line below: its key, or what it does.
        kind: which colour it has.
        reads: the boxes that it is made from.
        made_by: the capability whose model makes it, if one does.
    """

    name: str
    what: str
    kind: str
    reads: tuple[str, ...]
    made_by: str = ""


def kind_of(view: View) -> str:
    """What sort of view it is, in a word."""
    match view:
        case Windows():
            return "windows"
        case Outcomes():
            return "outcomes"
        case Computed():
            return "computed"
        case ModelView():
            return "model"
    return "source"


def reads(task: type[AnyTask]) -> list[View]:
    """The views that a capability learns from or looks up."""
    return [task.examples, *task.features, *task.outcomes, *task.live, *task.tables]


def boxes(graph: Graph, tasks: Mapping[str, type[AnyTask]]) -> list[Box]:
    """All views and capabilities."""
    made = [
        Box(
            view.name,
            f"by {', '.join(view.key)}",
            kind_of(view),
            view.needs,
            view.task if isinstance(view, ModelView) else "",
        )
        for view in graph.order
    ]
    return made + [
        Box(name, "a model", "capability", tuple(dict.fromkeys(v.name for v in reads(task))))
        for name, task in tasks.items()
    ]


def draw(graph: Graph, tasks: Mapping[str, type[AnyTask]]) -> str:
    """The picture: what is made from what, from left to right; dashed is whose model makes it."""
    known = {box.name: box for box in boxes(graph, tasks)}
    columns = _columns(known)
    places = {
        name: (MARGIN + x * (WIDTH + ACROSS), MARGIN + LEGEND + y * (HEIGHT + DOWN))
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    width = 2 * MARGIN + len(columns) * (WIDTH + ACROSS) - ACROSS
    tallest = max(map(len, columns), default=0)
    height = 2 * MARGIN + LEGEND + tallest * (HEIGHT + DOWN) - DOWN
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<title>Where features come from</title><style>{STYLE}</style>",
        '<rect width="100%" height="100%" fill="#ffffff" stroke="none"/>',
        TIP,
        *_legend(),
        *_arrows(known.values(), places),
        *(_box(known[name], *place) for name, place in places.items() if name in known),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _columns(known: Mapping[str, Box]) -> list[list[str]]:
    """The boxes by their steps from what is ingested, each near to what it is made from.

    Where an arrow passes a column, a place in it is kept free: see `_passing`.
    """
    depth = _depths(known)
    columns: list[list[str]] = []
    row: dict[str, float] = {}
    for number in range(max(depth.values(), default=-1) + 1):
        passing = {
            _passing(other, number): _passing(other, number - 1)
            for name, box in known.items()
            for other in _before(box)
            if other in known and depth[other] < number < depth[name]
        }
        mine = [name for name in known if depth[name] == number]
        near = {name: [_passing(o, number - 1) for o in _before(known[name])] for name in mine}
        near |= {name: [before] for name, before in passing.items()}
        order = {name: _middle(others, row) for name, others in near.items()}
        column = sorted(near, key=order.__getitem__)
        columns.append(column)
        row = {name: place for place, name in enumerate(column)}
        row |= {_passing(name, number): place for name, place in row.items() if name in known}
    return columns


def _depths(known: Mapping[str, Box]) -> dict[str, int]:
    """How many steps each box is from what is ingested."""
    depth: dict[str, int] = {}

    def deep(name: str, path: frozenset[str]) -> int:
        if name not in depth:
            path = path | {name}
            # a model may learn from what another version of it made: that circle ends here
            before = [other for other in _before(known[name]) if other in known.keys() - path]
            depth[name] = max((deep(other, path) for other in before), default=-1) + 1
        return depth[name]

    for name in known:
        deep(name, frozenset())
    return depth


def _before(box: Box) -> list[str]:
    return [*box.reads, *filter(None, [box.made_by])]


def _passing(name: str, column: int) -> str:
    """What stands for a box in a column that arrows from it pass."""
    return f"{name} {column}"


def _middle(near: Sequence[str], row: Mapping[str, float]) -> float:
    rows = [row[name] for name in near if name in row]
    return sum(rows) / len(rows) if rows else 0.0


def _legend() -> Iterable[str]:
    for place, (kind, fill) in enumerate(FILLS.items()):
        x = MARGIN + place * 104
        yield f'<rect x="{x}" y="{MARGIN - 8}" width="14" height="14" rx="3" fill="{fill}"/>'
        yield f'<text class="what" x="{x + 20}" y="{MARGIN + 3}">{kind}</text>'


def _box(box: Box, x: int, y: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{FILLS[box.kind]}"/>'
        f'<text class="name" x="{x + 12}" y="{y + 21}">{escape(box.name)}</text>'
        f'<text class="what" x="{x + 12}" y="{y + 38}">{escape(box.what)}</text>'
    )


def _arrows(known: Iterable[Box], places: Mapping[str, Sequence[int]]) -> Iterable[str]:
    for box in known:
        for other, style in (*((name, "reads") for name in box.reads), (box.made_by, "makes")):
            if other in places:
                curve = _curve(other, box.name, places)
                yield f'<path class="{style}" marker-end="url(#tip)" d="{curve}"/>'


def _curve(begin: str, end: str, places: Mapping[str, Sequence[int]]) -> str:
    """From the right of a box to the left of another, through the places kept free between."""
    x, y = places[begin]
    stops = [place for name, place in places.items() if name.startswith(f"{begin} ")]
    path = f"M{x + WIDTH} {y + HEIGHT // 2}"
    at, to_x = x + WIDTH, places[end][0]
    for stop_x, stop_y in [*sorted(tuple(s) for s in stops if x < s[0] < to_x), places[end]]:
        middle, down = (at + stop_x) // 2, stop_y + HEIGHT // 2
        path += f"C{middle} {y + HEIGHT // 2} {middle} {down} {stop_x} {down}"
        path += f"H{stop_x + WIDTH}" * (stop_x < to_x)
        at, y = stop_x + WIDTH, stop_y
    return path
