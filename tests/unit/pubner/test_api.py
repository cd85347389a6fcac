"""The public package: what a user's script may import, and what it gives."""

import doctest
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

import pubner
from schemas.records import Annotation
from tests.support.annotating import annotate as annotate_by_command
from tests.support.annotating import article, pubmed_xml
from tests.support.checkpoints import tiny_checkpoint
from tests.support.root import ROOT
from worker.tagger import Tagger

TEXTS = ["BRCA1 in breast cancer.", "", "p53 and\nthe cystic fibrosis gene \U0001f9ec of CFTR."]


def deletions(*pmids: int) -> str:
    listed = "".join(f'<PMID Version="1">{pmid}</PMID>' for pmid in pmids)
    return f"<DeleteCitation>{listed}</DeleteCitation>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


def test_the_names_are_all_there_is_and_each_can_be_had() -> None:
    assert dir(pubner) == sorted(pubner.__all__)
    for name in pubner.__all__:
        found = getattr(pubner, name)
        assert found.__doc__
        assert found.__name__ == name
    with pytest.raises(AttributeError, match="'pubner' has no attribute 'tag'"):
        pubner.tag  # noqa: B018


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, pubner; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'apache_beam', 'pyarrow', "
        "'pydantic', 'numpy', 'duckdb', 'transformers', 'rich', 'schemas', 'worker'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("module", [x.name for x in pkgutil.iter_modules(pubner.__path__)])
def test_the_examples_in_docstrings_run(module: str) -> None:
    if module == "__main__":
        pytest.skip("running it runs the command")
    found = doctest.testmod(
        importlib.import_module(f"pubner.{module}"), optionflags=doctest.ELLIPSIS
    )
    assert found.failed == 0


def test_the_examples_of_the_package_run() -> None:
    assert doctest.testmod(pubner, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("kind", ["module", "package"])
def test_a_module_of_the_users_that_shadows_ours_is_named(tmp_path: Path, kind: str) -> None:
    mine = tmp_path / ("schemas.py" if kind == "module" else "worker/__init__.py")
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("VALUE = 1\n")
    script = tmp_path / "script.py"
    script.write_text("import pubner\n")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {mine.resolve()} shadows pubner's package ")
    assert "rename it" in last


def test_a_folder_of_the_users_without_code_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "script.py").write_text("import pubner; from worker.tagger import Tagger\n")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr


def test_mentions_are_where_they_say(checkpoint: Path) -> None:
    tagger = pubner.load(str(checkpoint), device="cpu")
    assert tagger.tasks == ("ncbi-disease", "bc2gm")
    documents = tagger.annotate(text for text in TEXTS)
    assert [document.text for document in documents] == TEXTS
    found = [mention for document in documents for mention in document.mentions]
    assert found
    for document in documents:
        for mention in document.mentions:
            assert document.text[mention.start : mention.end] == mention.text
            assert type(mention.entity_type) is str
            assert 0 <= mention.score <= 1
    assert tagger.annotate([]) == []


def test_a_text_by_itself_or_none_is_refused(checkpoint: Path) -> None:
    tagger = pubner.load(str(checkpoint), device="cpu")
    with pytest.raises(pubner.InputError, match="put it into a list"):
        tagger.annotate("a text")
    with pytest.raises(pubner.InputError, match="text 1 is a NoneType"):
        tagger.annotate(["a text", None])  # type: ignore[list-item]
    with pytest.raises(pubner.PubnerError, match="text 301: "):
        tagger.annotate(["fine"] * 301 + ["half \ud83e"])
    with pytest.raises(pubner.CheckpointError, match="no checkpoint at 'nowhere'"):
        pubner.load("nowhere")


def test_a_notebook_shows_a_document_in_colour_and_safely(checkpoint: Path) -> None:
    document = pubner.Document(
        "<b>BRCA1</b> & more",
        (
            pubner.Mention("bc2gm", "GENE", "Gene", 3, 8, "BRCA1", 0.5, preferred=True),
            pubner.Mention("x", "GENE", "Gene", 3, 12, "BRCA1</b>", 0.5, preferred=True),
            pubner.Mention("y", "GENE", "Gene", 0, 1, "<", 0.5, preferred=False),
        ),
    )
    shown = document._repr_html_()
    assert shown.count("<mark") == 1
    assert "&lt;/b&gt; <small>Gene</small></mark> &amp; more" in shown
    assert "<b>" not in shown


def test_each_type_has_a_colour_of_its_own_in_a_notebook() -> None:
    def shown(kind: str) -> str:
        mention = pubner.Mention("x", kind, kind, 0, 1, "a", 0.5, preferred=True)
        html = pubner.Document("a", (mention,))._repr_html_()
        return html.split("background:")[1].split(";")[0]

    assert shown("Disease") == "#ffb3b3"
    assert shown("Planet") == shown("Planet") != shown("Symptom")
    assert shown("Planet").startswith("hsl(")


def test_documents_as_tables(checkpoint: Path) -> None:
    documents = pubner.load(str(checkpoint), device="cpu").annotate(TEXTS)
    table = pubner.to_arrow(documents)
    rows = [(n, m.text, m.start) for n, d in enumerate(documents) for m in d.mentions]
    found = [table[name].to_pylist() for name in ("document", "text", "start")]
    assert list(zip(*found, strict=True)) == rows
    assert pubner.to_arrow([]).schema == table.schema
    frame = pubner.to_pandas(documents)
    assert frame.text.tolist() == [row[1] for row in rows]


def test_files_are_read_citation_by_citation(tmp_path: Path) -> None:
    parts = [article(1, "A title"), article("none"), article(2, "Another"), deletions(7)]
    source = pubmed_xml(tmp_path / "a.xml", parts)
    for paths in (source, str(source), [source], tmp_path):
        first, bad, second, gone = pubner.read(paths)
        assert isinstance(first, pubner.Citation)
        assert isinstance(bad, pubner.DeadLetter)
        assert isinstance(second, pubner.Citation)
        assert isinstance(gone, pubner.Citation)
        assert (first.pmid, second.title, gone.deleted) == (1, "Another", True)
        assert (bad.position.source, bad.position.offset) == ("a.xml", 1)
    with pytest.raises(pubner.InputError, match="no input at"):
        pubner.read(tmp_path / "none.xml")
    with pytest.raises(pubner.SettingsError, match="format='xml': one of pubmed-xml"):
        pubner.read(source, format="xml")


def test_what_is_annotated_is_what_the_command_writes(tmp_path: Path, checkpoint: Path) -> None:
    parts = [article(n, f"BRCA{n} and breast cancer type {n}") for n in range(1, 8)]
    first = pubmed_xml(tmp_path / "a.xml", [*parts, article("none")])
    second = pubmed_xml(tmp_path / "b.xml", [article(2, "A newer title"), deletions(3)])
    annotate_by_command([first, second], tmp_path / "command", checkpoint)
    result = pubner.annotate(
        [first, second], tmp_path / "api", checkpoint=str(checkpoint), threads=1, block_size=3
    )
    assert result.citations == {"annotated": 8, "deleted": 1}
    assert result.dead_letters == {"parse": 1}
    assert result.annotated_now == 9
    output = result.open()
    columns = ["pmid", "task", "start", "end", "text", "score", "preferred"]
    by_command = pubner.open_output(str(tmp_path / "command"))
    mentions = output.mentions(columns=columns, newest=False)
    keys = [("pmid", "ascending"), ("task", "ascending"), ("start", "ascending")]
    assert mentions.sort_by(keys) == by_command.mentions(columns=columns, newest=False).sort_by(
        keys
    )
    texts = output.citations(columns=["pmid", "text"])
    assert sorted(texts["pmid"].to_pylist()) == [1, 2, 4, 5, 6, 7]
    newer = texts.filter(pa.compute.equal(texts["pmid"], 2))
    assert newer["text"].to_pylist() == ["A newer title\n"]
    assert set(output.mentions()["pmid"].to_pylist()) <= {1, 2, 4, 5, 6, 7}
    [document] = pubner.load(str(checkpoint), device="cpu").annotate(["A newer title\n"])
    written = output.mentions(columns=["text", "start"], where="pmid = 2").to_pylist()
    assert [(m.text, m.start) for m in document.mentions] == [
        (row["text"], row["start"]) for row in written
    ]


def test_outputs_are_queried(tmp_path: Path, checkpoint: Path) -> None:
    parts = [article(n, f"BRCA{n} and breast cancer type {n}") for n in range(1, 5)]
    source = pubmed_xml(tmp_path / "a.xml", [*parts, article("none")])
    result = pubner.annotate(source, tmp_path / "out", checkpoint=str(checkpoint), threads=1)
    output = result.open()
    everything = output.mentions()
    preferred = output.mentions(preferred=True)
    assert len(preferred) + len(output.mentions(preferred=False)) == len(everything)
    assert preferred.schema == everything.schema
    few = output.citations(columns=["pmid"], where="pmid > 2 -- a comment")
    assert sorted(few["pmid"].to_pylist()) == [3, 4]
    reader = output.scan_citations(columns=["pmid", "text"])
    assert isinstance(reader, pa.RecordBatchReader)
    assert sum(len(batch) for batch in reader) == 4
    [dead_letter] = output.dead_letters().to_pylist()
    assert (dead_letter["offset"], dead_letter["stage"]) == (4, "parse")
    with pytest.raises(pubner.InputError, match="column 'nothing' is none of mentions"):
        output.mentions(columns=["nothing"])
    with pytest.raises(pubner.InputError, match="cannot be queried by 'nothing = 1'"):
        output.citations(where="nothing = 1")
    with pytest.raises(pubner.InputError, match="cannot be queried"):
        output.citations(where="pmid IN (SELECT 1 FROM read_csv('/etc/passwd'))")
    with pytest.raises(pubner.OutputError, match="holds no output of pubner"):
        pubner.open_output(str(tmp_path))


def test_a_wrong_setting_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(pubner.SettingsError, match="block_size=0: "):
        pubner.annotate("a.xml", tmp_path / "out", block_size=0)
    with pytest.raises(pubner.SettingsError, match="blocksize=3: "):
        pubner.annotate("a.xml", tmp_path / "out", blocksize=3)
    with pytest.raises(pubner.SettingsError, match="no file, folder or glob"):
        pubner.annotate([], tmp_path / "out")
    with pytest.raises(pubner.PubnerError, match="SparkRunner2"):
        pubner.annotate("a.xml", tmp_path / "out", runner="SparkRunner2")


def test_a_program_that_calls_it_outlives_ctrl_c(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", [article(n) for n in range(1, 30)])
    read = Tagger.annotate

    def interrupted(self: Tagger, texts: Sequence[str]) -> list[Annotation]:
        os.kill(os.getpid(), signal.SIGINT)
        return read(self, texts)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Tagger, "annotate", interrupted)
    with pytest.raises(pubner.PubnerError, match="SIGINT"):
        pubner.annotate(
            source, tmp_path / "out", checkpoint=str(checkpoint), threads=1, chunk_size=5
        )
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    results: list[pubner.AnnotateResult] = []

    def run() -> None:
        results.append(
            pubner.annotate(source, tmp_path / "out", checkpoint=str(checkpoint), threads=1)
        )

    thread = threading.Thread(target=run)
    thread.start()  # in a thread no signal can be handled
    thread.join()
    assert results[0].citations == {"annotated": 29}
