"""Sentences that summarise the figures of an error analysis."""

import re

from training.evaluation.errors import ERRORS, Edge, Outcome
from training.evaluation.errors_analysis import HeadErrors, Tally
from training.reports.pages import percent

NAMES = {
    Outcome.CORRECT: "correct",
    Outcome.BOUNDARY: "wrong edges",
    Outcome.TYPE: "wrong label",
    Outcome.BOUNDARY_AND_TYPE: "wrong edges and label",
    Outcome.MISS: "missed",
    Outcome.SPURIOUS: "spurious",
}
"""The name of each class on the page."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+|\d+")
_FEW = 30
"""The minimum number of mentions for a finding."""


def noun(entity_type: str) -> str:
    """Return an entity type as words, such as `cell line` for `CellLine`; acronyms stay."""
    words = _WORD.findall(entity_type)
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words)


def mentions_of(head: HeadErrors) -> str:
    """Return the kind of mentions of a head, such as `chemical and disease mentions`."""
    nouns = list(dict.fromkeys(noun(label.entity_type) for label in head.task.labels))
    return f"{_listed(nouns)} mentions"


def summary(head: HeadErrors) -> list[str]:
    """Return a summary of the outcomes in a few sentences."""
    counts, overall = head.counts, head.overall
    if not overall.gold_total:
        found = f"The annotators marked no {mentions_of(head)} here"
        if overall.found_total:
            return [f"{found}; the model marked {overall.found_total:,}."]
        return [f"{found}, and the model marked none."]
    sentences = [
        f"The model found {counts[Outcome.CORRECT]:,} of {overall.gold_total:,} "
        f"{mentions_of(head)} exactly ({percent(overall.recall)})."
    ]
    rest = [
        _clause(counts[outcome], one, many)
        for outcome, one, many in (
            (Outcome.BOUNDARY, "was found with wrong edges", "were found with wrong edges"),
            (Outcome.TYPE, "was given another label", "were given another label"),
            (
                Outcome.BOUNDARY_AND_TYPE,
                "was given another label and wrong edges",
                "were given another label and wrong edges",
            ),
            (Outcome.MISS, "was missed", "were missed"),
        )
        if counts[outcome]
    ]
    if rest:
        sentences.append(f"Of the others, {_listed(rest)}.")
    if not overall.found_total:
        sentences.append("It marked nothing at all.")
    else:
        extra = counts[Outcome.SPURIOUS]
        where = (
            "It marked no mention that the annotators did not"
            if not extra
            else f"It also marked {extra:,} {'mention' if extra == 1 else 'mentions'} "
            "that the annotators did not"
        )
        sentences.append(
            f"{where}: of the {overall.found_total:,} that it marked in all, "
            f"{percent(overall.precision)} are right."
        )
    return sentences


def findings(head: HeadErrors) -> list[str]:
    """Return notable findings, one sentence each; none if there are too few mentions."""
    found = [
        _commonest(head),
        _new_ones(head),
        _long_ones(head),
        _edges(head),
        _labels(head),
        _confusion(head),
    ]
    return [sentence for sentence in found if sentence]


def _clause(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _commonest(head: HeadErrors) -> str:
    total = sum(head.counts[error] for error in ERRORS)
    if total < _FEW:
        return ""
    first, second = sorted(ERRORS, key=lambda error: -head.counts[error])[:2]
    phrases = {
        Outcome.BOUNDARY: "mentions found with wrong edges",
        Outcome.TYPE: "mentions given a wrong label",
        Outcome.BOUNDARY_AND_TYPE: "mentions with wrong edges and label",
        Outcome.MISS: "missed mentions",
        Outcome.SPURIOUS: "mentions that only the model marked",
    }
    return (
        f"Of {total:,} errors, {percent(head.counts[first] / total)} are {phrases[first]}, "
        f"and {percent(head.counts[second] / total)} {phrases[second]}."
    )


def _new_ones(head: HeadErrors) -> str:
    if not head.by_frequency:
        return ""
    new, known = head.by_frequency[0], head.by_frequency[1:]
    known_total = sum(tally.gold_total for tally in known)
    if min(new.gold_total, known_total) < _FEW:
        return ""
    recall = sum(tally.gold.get(Outcome.CORRECT, 0) for tally in known) / known_total
    return (
        f"Mentions that occur in the training data are found exactly in {percent(recall)} of "
        f"cases, new ones in {percent(new.recall)}; "
        f"{percent(new.gold_total / head.overall.gold_total)} of the mentions are new."
    )


def _long_ones(head: HeadErrors) -> str:
    short, long = head.by_length[0], _joined(head.by_length[3:])
    if min(short.gold_total, long.gold_total) < _FEW:
        return ""
    return (
        f"Of mentions of one word {percent(short.recall)} are found exactly, of those of four "
        f"words and more {percent(long.recall)}."
    )


def _joined(tallies: tuple[Tally, ...]) -> Tally:
    gold = {name: sum(tally.gold.get(name, 0) for tally in tallies) for name in Outcome}
    found = {name: sum(tally.found.get(name, 0) for tally in tallies) for name in Outcome}
    return Tally("", gold, found)


def _edges(head: HeadErrors) -> str:
    short = sum(
        count
        for edges, count in head.edges.items()
        if Edge.SHORT in edges and Edge.LONG not in edges
    )
    long = sum(
        count
        for edges, count in head.edges.items()
        if Edge.LONG in edges and Edge.SHORT not in edges
    )
    if short + long < _FEW:
        return ""
    return (
        f"Where the edges are wrong, the model marked too little {_times(short)} and too much "
        f"{_times(long)}."
    )


def _labels(head: HeadErrors) -> str:
    tallies = [tally for tally in head.by_label if tally.gold_total >= _FEW]
    if len(tallies) < 2:
        return ""
    recall = {tally.name: tally.recall or 0.0 for tally in tallies}
    best, worst = max(recall, key=recall.__getitem__), min(recall, key=recall.__getitem__)
    return (
        f"The label found best is {best} ({percent(recall[best])}), "
        f"worst is {worst} ({percent(recall[worst])})."
    )


def _confusion(head: HeadErrors) -> str:
    if sum(head.confusions.values()) < _FEW:
        return ""
    gold, found = max(head.confusions, key=lambda pair: (head.confusions[pair], pair))
    return (
        f"The label most often mistaken: {gold} called {found} "
        f"({_times(head.confusions[gold, found])})."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
