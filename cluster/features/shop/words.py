"""Write reviews for the made-up shop: praise and blame, negation, asides, and a few mistakes."""

import numpy as np

MISTAKES = 0.04  # the share of reviews whose label is the other one, as in real data

_GOOD = (
    "lovely", "sturdy", "beautiful", "excellent", "charming", "reliable", "comfortable",
    "well made", "delightful", "perfect", "solid", "elegant", "generous", "superb", "handy",
    "splendid", "durable", "cheerful", "neat", "impressive", "graceful", "dependable",
)  # fmt: skip
_BAD = (
    "flimsy", "ugly", "disappointing", "shoddy", "dull", "cracked", "uncomfortable",
    "badly made", "useless", "crooked", "overpriced", "faded", "wobbly", "awful", "scratched",
    "tacky", "brittle", "gloomy", "sloppy", "forgettable", "clumsy", "unreliable",
)  # fmt: skip
_PARTS = (
    "colour", "finish", "shape", "material", "packaging", "size", "surface", "weight", "price",
    "delivery", "smell", "design",
)  # fmt: skip
_STATES = (
    "The {part} is {degree}{word}.",
    "I find the {part} {degree}{word}.",
    "What a {word} {thing}.",
    "This {thing} is {degree}{word}.",
    "It looks {degree}{word} in our kitchen.",
    "My sister called the {part} {word}.",
    "Such a {word} {part}, and the {part2} is {word2}.",
)
_DENIES = (
    "The {part} is not {word}.",
    "It is never {word}, whatever they say.",
    "I would not call this {thing} {word}.",
    "Nothing about the {part} is {word}.",
    "Hardly a {word} {thing}.",
)
_TURNS = (
    "I expected it to be {other}, but the {part} is {word}.",
    "Others say {other}, I say {word}.",
    "The {part} may be {other}, yet the {thing} as a whole is {word}.",
    "At first it seemed {other}; after a week it turned out {word}.",
)
_ASIDES = (
    "I bought the {thing} in spring.", "It came on a Tuesday.", "We needed one for the garden.",
    "This is my second {thing}.", "It was a gift for my father.", "The box was blue.",
    "I ordered it together with a book.", "It stands next to the window.",
    "My neighbour has the same {thing}.", "The shop answered after two days.",
)  # fmt: skip
_ENDS = {
    True: ("Would buy again.", "Thank you!", "Five stars.", "I keep it.", "", "", "", ""),
    False: ("I sent it back.", "Never again.", "One star.", "A waste of money.", "", "", "", ""),
}
_DEGREES = ("", "", "", "very ", "really ", "rather ", "truly ", "a bit ")


def review(thing: str, rng: np.random.Generator, *, good: bool) -> tuple[str, str]:
    """One review of a `thing`, good or bad, and its label, which is now and then mistaken."""
    sentences = [_sentence(thing, rng, good=good) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.12:
        sentences.append(_sentence(thing, rng, good=not good))  # few are pleased with all of it
    sentences += [_pick(_ASIDES, rng).format(thing=thing) for _ in range(rng.integers(0, 3))]
    said = [sentences[place] for place in rng.permutation(len(sentences))]
    text = " ".join([*said, _pick(_ENDS[good], rng)]).strip()
    label = good if rng.random() >= MISTAKES else not good
    return text, "positive" if label else "negative"


def _sentence(thing: str, rng: np.random.Generator, *, good: bool) -> str:
    """A statement, the denial of the opposite, or a turn from the one to the other."""
    right, wrong = (_GOOD, _BAD) if good else (_BAD, _GOOD)
    kind = rng.random()
    forms: tuple[str, ...] = _TURNS
    if kind < 0.87:
        forms = _STATES if kind < 0.68 else _DENIES
    words = wrong if forms is _DENIES else right
    return _pick(forms, rng).format(
        thing=thing,
        part=_pick(_PARTS, rng),
        part2=_pick(_PARTS, rng),
        degree=_pick(_DEGREES, rng),
        word=_pick(words, rng),
        word2=_pick(words, rng),
        other=_pick(wrong, rng),
    )


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]
