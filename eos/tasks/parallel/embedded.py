"""A small parallel text that needs no download: what somebody counted, in English and in German.

The time moves from the end to the front, the participle from the front to the end, and in a number the units come
before the tens, all of it one word: ``I have found forty-two old boats today.`` is
``Heute habe ich zweiundvierzig alte Boote gefunden.``
"""

from collections.abc import Mapping
from functools import cache

import numpy as np

Pair = tuple[str, str]

#: Pairs of each part.
SIZES = {"train": 20_000, "validation": 500, "test": 1_000}
#: The largest number.
MOST = 999

_SUBJECTS = [
    ("I have", "habe ich"),
    ("you have", "hast du"),
    ("he has", "hat er"),
    ("we have", "haben wir"),
    ("the children have", "haben die Kinder"),
    ("my sister has", "hat meine Schwester"),
]
_TIMES = [
    ("today", "heute"),
    ("this morning", "heute Morgen"),
    ("this week", "diese Woche"),
    ("this year", "dieses Jahr"),
    ("for Anna", "für Anna"),
    ("in Berlin", "in Berlin"),
    ("at home", "zu Hause"),
    ("at last", "endlich"),
]
_VERBS = [
    ("seen", "gesehen"),
    ("bought", "gekauft"),
    ("counted", "gezählt"),
    ("found", "gefunden"),
    ("lost", "verloren"),
    ("sold", "verkauft"),
    ("painted", "gemalt"),
    ("looked for", "gesucht"),
    ("drawn", "gezeichnet"),
    ("forgotten", "vergessen"),
]
_ADJECTIVES = [
    ("red", "rote"),
    ("old", "alte"),
    ("small", "kleine"),
    ("big", "große"),
    ("new", "neue"),
    ("green", "grüne"),
    ("black", "schwarze"),
    ("expensive", "teure"),
    ("beautiful", "schöne"),
    ("empty", "leere"),
]
_NOUNS = [
    ("houses", "Häuser"),
    ("dogs", "Hunde"),
    ("books", "Bücher"),
    ("bottles", "Flaschen"),
    ("chairs", "Stühle"),
    ("cars", "Autos"),
    ("boats", "Boote"),
    ("trees", "Bäume"),
    ("keys", "Schlüssel"),
    ("letters", "Briefe"),
    ("cups", "Tassen"),
    ("birds", "Vögel"),
]
_ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_GERMAN = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn "
    "siebzehn achtzehn neunzehn"
).split()
_ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def english(number: int) -> str:
    """A number in English words, 1 ≤ number < 1000."""
    hundreds, rest = divmod(number, 100)
    words = [f"{_ENGLISH[hundreds]} hundred"] if hundreds else []
    if 0 < rest < 20:
        words.append(_ENGLISH[rest])
    elif rest:
        tens, units = divmod(rest, 10)
        words.append(_ENGLISH_TENS[tens - 2] + (f"-{_ENGLISH[units]}" if units else ""))
    return " ".join(words)


def german(number: int) -> str:
    """A number as one German word, 1 ≤ number < 1000."""
    hundreds, rest = divmod(number, 100)
    word = f"{_before(hundreds)}hundert" if hundreds else ""
    if rest < 20:
        return word + (_GERMAN[rest] if rest else "")
    tens, units = divmod(rest, 10)
    return word + (f"{_before(units)}und" if units else "") + _GERMAN_TENS[tens - 2]


def _before(digit: int) -> str:
    """A digit inside a word: eins loses its s there."""
    return "ein" if digit == 1 else _GERMAN[digit]


@cache
def sentences() -> Mapping[str, tuple[Pair, ...]]:
    """The pairs of every part, always the same, and none of them twice."""
    generator = np.random.Generator(np.random.Philox(key=np.array([0, 0], np.uint64)))
    wanted = sum(SIZES.values())
    # a few more are drawn than are wanted, for some come twice
    many = wanted + wanted // 50
    sizes = [len(_SUBJECTS), len(_TIMES), len(_VERBS), 2, *[MOST - 1, len(_ADJECTIVES), len(_NOUNS)] * 2]
    drawn = generator.integers(0, sizes, (many, len(sizes)))
    pairs = tuple(dict.fromkeys(_pair(*row) for row in drawn.tolist()))
    parts: dict[str, tuple[Pair, ...]] = {}
    start = 0
    for part, size in SIZES.items():
        parts[part] = pairs[start : start + size]
        start += size
    return parts


def _pair(subject: int, time: int, verb: int, both: int, *things: int) -> Pair:
    """Of one thing that was counted, or of two."""
    counted = [
        (
            f"{english(number + 2)} {_ADJECTIVES[adjective][0]} {_NOUNS[noun][0]}",
            f"{german(number + 2)} {_ADJECTIVES[adjective][1]} {_NOUNS[noun][1]}",
        )
        for number, adjective, noun in (things[:3], things[3:])[: both + 1]
    ]
    left = " and ".join(one for one, _ in counted)
    right = " und ".join(other for _, other in counted)
    return (
        _begun(f"{_SUBJECTS[subject][0]} {_VERBS[verb][0]} {left} {_TIMES[time][0]}."),
        _begun(f"{_TIMES[time][1]} {_SUBJECTS[subject][1]} {right} {_VERBS[verb][1]}."),
    )


def _begun(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
