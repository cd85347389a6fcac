"""Calibrated heads: the same mentions, scores of divided tag scores, the curve; what is refused."""

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import ElectraConfig

from schemas.errors import CheckpointError, RecordError
from schemas.manifest import HeadCalibration
from schemas.records import Mention
from schemas.tags import OUTSIDE, may_follow
from schemas.tasks import TASKS
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_config
from worker.checkpoint.folder import MANIFEST, WEIGHTS, read_manifest, write_manifest
from worker.decoding.calibration import EDGE, calibrated
from worker.decoding.cpu import head_layout
from worker.decoding.gpu import device_layout
from worker.network.encoder import load_encoder
from worker.tagger import BatchLimits, CheckpointTagger, Tagger, load_tagger

WORDS = ["BRCA1", "IL", "mutations", "cause", "breast", "cancer", "with", "HeLa"]
HOT, COOL = HeadCalibration(temperature=2.5), HeadCalibration(temperature=0.7)
CURVED = HeadCalibration(temperature=2.5, a=0.6, b=1.4, c=-0.5)
ELECTRA = ElectraConfig(
    vocab_size=tiny_config().vocab_size,
    hidden_size=32,
    embedding_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=128,
    type_vocab_size=4,
)


def texts(count: int, words: int) -> list[str]:
    random = np.random.default_rng(words)
    return [" ".join(random.choice(WORDS, words).tolist()) for _ in range(count)]


def with_calibration(source: Path, folder: Path, **heads: HeadCalibration) -> Path:
    shutil.copytree(source, folder)
    sign_again(folder, calibration={name.replace("_", "-"): one for name, one in heads.items()})
    return folder


def load(folder: Path, *, on_device: bool = False) -> CheckpointTagger:
    encoder = load_encoder(folder, device="cpu", threads=1, precision="fp32")
    tagger = CheckpointTagger(encoder, BatchLimits())
    if on_device:
        tagger._tables = device_layout(head_layout(encoder.tasks), encoder.device)
    return tagger


def placed(mentions: Sequence[Mention]) -> list[tuple[str, str, int, int]]:
    return [(m.task, m.label, m.start, m.end) for m in mentions]


@pytest.fixture(scope="module", params=["bert", "electra"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = ELECTRA if request.param == "electra" else None
    return tiny_checkpoint(tmp_path_factory.mktemp("plain"), config=config)


def share(tags: tuple[str, ...], logits: npt.NDArray[np.float32], at: tuple[str, ...]) -> float:
    """The share of a legal sequences' probability that runs through the tags `at`, brute force.

    Empty strings in `at` may be any tag.
    """
    total = through = 0.0
    for path in itertools.product(range(len(tags)), repeat=len(logits)):
        names = [OUTSIDE, *(tags[number] for number in path), OUTSIDE]
        if not all(may_follow(a, b) for a, b in itertools.pairwise(names)):
            continue
        weight = math.exp(
            math.fsum(float(row[number]) for row, number in zip(logits, path, strict=True))
        )
        total += weight
        if all(not b or a == b for a, b in zip(names[1:-1], at, strict=True)):
            through += weight
    return through / total


@pytest.mark.parametrize("on_device", [False, True])
def test_scores_are_those_of_divided_tag_scores_and_mentions_stay(
    plain: Path, tmp_path: Path, on_device: bool
) -> None:
    before = load(plain)
    after = load(with_calibration(plain, tmp_path / "hot", bc2gm=HOT), on_device=on_device)
    short = texts(12, 4)
    layout = head_layout(before.tasks)
    found = 0
    for scored, old, new in zip(
        before.tag_scores(short), before.read(short), after.read(short), strict=True
    ):
        assert placed(old.mentions) == placed(new.mentions)
        for one, other in zip(old.mentions, new.mentions, strict=True):
            head = [task.name for task in before.tasks].index(one.task)
            part = layout.slices[head]
            if one.task == "ncbi-disease":
                assert other.score == pytest.approx(one.score, abs=1e-5)
                continue
            first = scored.pieces.pretoken_starts.tolist().index(one.start)
            last = scored.pieces.pretoken_ends.tolist().index(one.end)
            at = [""] * len(scored.scores)
            at[first : last + 1] = (
                [f"S-{one.label}"]
                if first == last
                else [
                    f"B-{one.label}",
                    *[f"I-{one.label}"] * (last - first - 1),
                    f"E-{one.label}",
                ]
            )
            expected = share(layout.tags[part], scored.scores[:, part] / 2.5, tuple(at))
            assert other.score == pytest.approx(expected, abs=1e-5)
            found += 1
    assert found > 5


def test_long_texts_have_the_same_mentions_and_the_id_differs(plain: Path, tmp_path: Path) -> None:
    long = texts(6, 150)
    before = load(plain)
    after = load(
        with_calibration(plain, tmp_path / "both", ncbi_disease=COOL, bc2gm=CURVED),
    )
    pairs = list(zip(before.read(long), after.read(long), strict=True))
    assert sum(len(old.mentions) for old, _ in pairs) > 50
    assert all(placed(old.mentions) == placed(new.mentions) for old, new in pairs)
    assert after.id != before.id
    assert read_manifest(tmp_path / "both").calibration["bc2gm"] == CURVED


def test_a_curve_moves_scores_and_keeps_their_order(plain: Path, tmp_path: Path) -> None:
    given_texts = texts(8, 40)
    hot = load(with_calibration(plain, tmp_path / "hot", bc2gm=HOT)).read(given_texts)
    bent = load(with_calibration(plain, tmp_path / "bent", bc2gm=CURVED)).read(given_texts)
    for straight, curved in zip(hot, bent, strict=True):
        for one, other in zip(straight.mentions, curved.mentions, strict=True):
            if one.task == "bc2gm":
                odds = 0.6 * math.log(one.score) - 1.4 * math.log(1.0 - one.score) - 0.5
                assert other.score == pytest.approx(1.0 / (1.0 + math.exp(-odds)), abs=1e-6)
            else:
                assert other.score == one.score


CURVES = st.builds(
    HeadCalibration,
    temperature=st.floats(0.1, 10),
    a=st.floats(0, 1000),
    b=st.floats(0, 1000),
    c=st.floats(-1000, 1000),
)


@given(CURVES, st.lists(st.floats(0, 1), min_size=2))
def test_every_curve_is_monotone_and_gives_probabilities(
    curve: HeadCalibration, scores: list[float]
) -> None:
    found = [calibrated(score, curve) for score in sorted(scores)]
    assert all(0.0 <= score <= 1.0 for score in found)
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(found))


def test_the_default_curve_changes_nothing() -> None:
    for score in (0.0, EDGE / 2, 0.3, 1.0):
        assert calibrated(score, None) == calibrated(score, HOT) == score
    almost = HeadCalibration(c=1e-12)
    assert calibrated(0.3, almost) == pytest.approx(0.3)


@pytest.mark.parametrize("temperature", [0, -1.5, math.nan, math.inf, "warm"])
def test_a_temperature_that_is_none_is_refused(tmp_path: Path, temperature: object) -> None:
    folder = tiny_checkpoint(tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest["calibration"] = {"bc2gm": {"temperature": temperature}}
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CheckpointError, match=r"not a valid manifest: calibration\.bc2gm\.temp"):
        load_tagger([folder])


def test_a_head_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    sign_again(folder, calibration={"jnlpba": HOT})
    with pytest.raises(CheckpointError, match="calibration for the head 'jnlpba', which it lacks"):
        load_tagger([folder])
    with pytest.raises(CheckpointError, match="it has bc2gm"):
        write_manifest(
            folder,
            tasks=[TASKS["bc2gm"]],
            letter_case=True,
            max_pieces=128,
            recipe={},
            encoder_source="",
            corpora=(),
            metrics={},
            versions={},
            calibration={"jnlpba": HOT},
        )


def test_the_manifest_is_written_with_its_calibration(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    before = read_manifest(folder)
    after = write_manifest(
        folder,
        tasks=before.task_records(),
        letter_case=before.letter_case,
        max_pieces=before.max_pieces,
        recipe=before.recipe,
        encoder_source=before.encoder_source,
        corpora=before.corpora,
        metrics=before.metrics,
        versions=before.versions,
        calibration={"bc2gm": CURVED},
    )
    assert read_manifest(folder) == after
    assert after.id != before.id
    assert Tagger([load(folder)]).id == after.id


def test_weights_without_their_bias_are_refused_as_before(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    weights = load_file(folder / WEIGHTS)
    del weights["heads.bias"]
    save_file(weights, folder / WEIGHTS)
    sign_again(folder, calibration={"bc2gm": HOT})
    with pytest.raises(CheckpointError, match=r"heads\.bias has the shape of nothing"):
        load_tagger([folder])


def test_tag_scores_that_are_no_numbers_are_the_records_fault(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path)
    weights = load_file(folder / WEIGHTS)
    weights["heads.bias"][3] = math.inf
    save_file(weights, folder / WEIGHTS)
    sign_again(folder)
    with pytest.raises(RecordError, match="scores that are not finite"):
        load(folder).tag_scores(["breast cancer"])
    assert load(folder).tag_scores([]) == []
