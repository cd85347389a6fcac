"""What of files and of topics lies in one output."""

from pathlib import Path

from pipelines.output.manifest import describe_mixed_sources, open_output, other_sources
from pipelines.output.writer import BlockWriter
from tests.support.blocks import block
from tests.support.dead_letters import dead_letter, write_dead_letters


def test_an_output_of_one_kind_holds_no_other(tmp_path: Path) -> None:
    write_dead_letters(tmp_path / "out", [dead_letter(1)])
    with open_output(str(tmp_path / "out"), block_size=5, sources={"t": "kafka:C:T"}) as store:
        assert other_sources(store, topics=True) == []
    with open_output(str(tmp_path / "files"), block_size=5) as store:
        BlockWriter(store, 5, "").write(block([0, 1], source="a.xml"))
        assert other_sources(store, topics=False) == []


def test_files_beside_topics_and_topics_beside_files_are_named(tmp_path: Path) -> None:
    with open_output(str(tmp_path / "out"), block_size=5) as store:
        BlockWriter(store, 5, "").write(block([0, 1], source="a.xml"))
    with open_output(str(tmp_path / "out"), block_size=5, sources={"t": "kafka:C:T"}) as store:
        assert other_sources(store, topics=True) == ["a.xml"]
        assert other_sources(store, topics=False) == ["t"]


def test_of_many_the_first_are_named() -> None:
    words = describe_mixed_sources([f"{number}.xml" for number in range(9)], topics=True)
    assert words.startswith("it also holds rows of 9 files by `pubner annotate`: 0.xml, 1.xml, ")
    assert words.endswith("4.xml, …")
