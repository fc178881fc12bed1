"""Find the views of one's own that a recommender is to learn from."""

from collections.abc import Callable, Sequence

from cluster.contract import InvalidInput, View
from cluster.features.views.interactions import items, users
from cluster.media import Media


def named(
    names: Sequence[str], have: Sequence[View], find: Callable[[str], View]
) -> tuple[View, ...]:
    """The views of those names that are not there already.

    Args:
        names: of views.
        have: those that are read anyway.
        find: gives the view of a name.

    Raises:
        NotFound: there is no such view.
        InvalidInput: nothing can be made of one here; the sentence says why.
    """
    there = {view.name for view in have}
    views = tuple(find(name) for name in dict.fromkeys(names) if name not in there)
    for view in views:
        if fault := _fault(view):
            raise InvalidInput(f"View {view.name!r} {fault[0]}.", hint=fault[1])
    return views


def _fault(view: View) -> tuple[str, str] | None:
    """What is wrong with a view, and what to do; nothing where nothing is."""
    if view.key not in (items.key, users.key):
        return f"is by {', '.join(view.key)}", "Name views by item_id alone or by user_id alone."
    if clash := {*items.key, *users.key} & set(view.columns):
        return f"has a column {min(clash)!r}", "Call it otherwise: here that is a key."
    if files := [c.noun for c in view.columns.values() if isinstance(c, Media)]:
        return f"holds {files[0]}s", "Name a view of their vectors, as item_image_vector is."
    return None
