"""`pubner dead-letters list` and `show`."""

import io
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.commands import dead_letters as dead_letters_command
from pipelines.dead_letters.ledger import Ledger, Replay, Target
from pipelines.dead_letters.reading import dead_letter_digest, read_dead_letters
from pipelines.dead_letters.selection import Selection, format_position, parse_position
from pipelines.output.manifest import open_existing
from schemas.errors import InputError, OutputError, SettingsError
from schemas.records import SourcePosition, Stage
from tests.support.dead_letters import dead_letter, run_dead_letters, write_dead_letters
from tests.support.memory_files import SCHEME, MemoryFiles

DAYS = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in range(1, 10)]
DEAD_LETTERS = [
    dead_letter(1, b"{", source="a", seen_at=DAYS[0]),
    dead_letter(7, b"{}", source="a", seen_at=DAYS[3], error="the message has no pmid"),
    dead_letter(8, b"\xff", source="a", seen_at=DAYS[1], error_type="OtherError"),
    dead_letter(2, b"", source="b-1.xml", partition=3, seen_at=DAYS[2], stage=Stage.ANNOTATE),
]


@pytest.fixture(params=["disk", "objects"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An output with `DEAD_LETTERS` on a disk, and in an object store."""
    MemoryFiles.objects.clear()
    root = str(tmp_path / "out") if request.param == "disk" else f"{SCHEME}://bucket/out"
    write_dead_letters(root, DEAD_LETTERS)
    yield root
    MemoryFiles.objects.clear()


def listed(output: str, tmp_path: Path, *words: str) -> list[tuple[str, int]]:
    file = tmp_path / "list.json"
    assert dead_letters_command.list_dead_letters([output, f"--json={file}", *words]) == 0
    return [(x["source"], x["offset"]) for x in json.loads(file.read_text())["letters"]]


def test_newest_first_with_a_summary(output: str, tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    assert dead_letters_command.list_dead_letters([output, f"--json={file}", "--limit=2"]) == 0
    found = json.loads(file.read_text())
    assert found["total"] == 4
    assert found["summary"] == [
        {"stage": "annotate", "error_type": "RecordError", "count": 1},
        {"stage": "parse", "error_type": "OtherError", "count": 1},
        {"stage": "parse", "error_type": "RecordError", "count": 2},
    ]
    assert found["letters"][0] == {
        "source": "a",
        "partition": 0,
        "offset": 7,
        "stage": "parse",
        "error_type": "RecordError",
        "error": "the message has no pmid",
        "size": 2,
        "seen_at": "2026-01-04T12:00:00Z",
        "replayed": False,
    }
    assert [x["offset"] for x in found["letters"]] == [7, 2]


@pytest.mark.parametrize(
    ("words", "offsets"),
    [
        (["--source=a"], [7, 8, 1]),
        (["--source=a,b-1.xml", "--stage=annotate"], [2]),
        (["--stage=parse,annotate"], [7, 2, 8, 1]),
        (["--error-type=OtherError"], [8]),
        (["--since=2026-01-03"], [7, 2]),
        (["--since=2026-01-03T14:00:00+01:00"], [7]),
        (["--position=a/0/8,b-1.xml/3/2"], [2, 8]),
        (["--position=a/1/8"], []),
        (["--source=none"], []),
    ],
)
def test_filters(output: str, tmp_path: Path, words: list[str], offsets: list[int]) -> None:
    assert [offset for _, offset in listed(output, tmp_path, *words)] == offsets


def test_what_was_replayed_says_so(output: str, tmp_path: Path) -> None:
    sent = DEAD_LETTERS[2]
    replay = Replay(
        id="r",
        target=Target("c", "t"),
        topic="topic",
        begun_at="2026-01-31T00:00:00+00:00",
        ends={0: 5},
        dead_letters=frozenset([(sent.position, dead_letter_digest(sent))]),
        finished=True,
    )
    Ledger(open_existing(output)).save(replay)
    Ledger(open_existing(output)).save(replay)
    assert Ledger(open_existing(output)).replays() == [replay]
    file = tmp_path / "list.json"
    dead_letters_command.list_dead_letters([output, f"--json={file}"])
    found = json.loads(file.read_text())["letters"]
    assert [x["offset"] for x in found if x["replayed"]] == [8]


def test_the_table(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    dead_letters_command.list_dead_letters([output])
    text = capsys.readouterr().out
    assert "2026-01-04T12:00:00Z" in text
    assert "4 of 4 shown." in text
    dead_letters_command.list_dead_letters([output, "--source=none"])
    assert capsys.readouterr().out == "No dead letters.\n"


def test_what_is_not_committed_is_not_listed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_dead_letters(out, DEAD_LETTERS)
    for path in (out / "citations").glob("a-0-000000000005*"):
        path.unlink()
    assert [x["offset"] for x in run_dead_letters("list", out, "--source=a")["letters"]] == [1]


def test_a_dead_letter_replaced_by_a_citation_is_not_listed(tmp_path: Path) -> None:
    """An interrupted replacement left the old dead letters beside the new citations."""
    out, other = tmp_path / "out", tmp_path / "other"
    write_dead_letters(out, [dead_letter(5, source="a"), dead_letter(6, source="a")])
    write_dead_letters(other, [dead_letter(7, source="a")])
    [path] = (other / "citations").glob("a-0-000000000005*")
    path.replace(out / "citations" / path.name)  # which has a citation at 5
    found = [
        x
        for block in read_dead_letters(open_existing(str(out)), Selection())
        for x in block.dead_letters
    ]
    assert [x.position.offset for x in found] == [6]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    write_dead_letters(tmp_path / "out", DEAD_LETTERS)
    for path in (tmp_path / "out" / "dead_letters").iterdir():
        path.write_bytes(b"PAR1")
    with pytest.raises(OutputError, match="dead_letters/a-0-000000000000"):
        dead_letters_command.list_dead_letters([str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "missing argument OUTPUT"),
        (["out", "--stage=pars"], "'parse'"),
        (["out", "--since=soon"], "--since 'soon'"),
        (["out", "--position=a/b"], "'a/b' is not a SOURCE/PARTITION/OFFSET"),
        (["out", "--limit=0"], "--limit '0'"),
    ],
)
def test_a_wrong_option_is_one_line(words: list[str], part: str) -> None:
    with pytest.raises(SettingsError, match="see `pubner dead-letters list --help`") as raised:
        dead_letters_command.list_dead_letters(words)
    assert part in str(raised.value)


def test_no_output_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a pubner output"):
        dead_letters_command.list_dead_letters([str(tmp_path)])


@pytest.mark.parametrize(
    "text", ["", "a", "a/0", "/0/1", "a/-1/0", "a/0/x", "a/0/²", "a/0/" + "9" * 20]
)
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="SOURCE/PARTITION/OFFSET"):
        parse_position(text)


def test_a_position_is_read_as_it_is_written() -> None:
    for source in ("a", "a/b", "ä b.xml.gz"):
        position = SourcePosition(source, 2, 10**18)
        assert parse_position(format_position(position)) == position


def test_show_a_whole_dead_letter(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    full = dead_letter(
        3,
        '{"pmid": "é", "n": [1]}'.encode(),
        source="c",
        key=b"12",
        headers=(("one", b"1"), ("one", b"\x00\x1b"), ("\udcff", b"2"), ("two", None)),
    )
    write_dead_letters(output, [full])
    assert dead_letters_command.show([output, "c/0/3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for part in (
        "position:    c/0/3",
        "stage:       parse",
        "error:       the message is not JSON",
        "seen at:     2026-01-31T12:00:00Z",
        "replayed:    no",
        "key:         12",
        "header:      one = 1",
        r"header:      one = b'\x00\x1b'",
        r"header:      b'\xff' = 2",
        "header:      two = null",
        "payload:     24 bytes",
        '  "pmid": "é",',
    ):
        assert part in lines


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"not\tJSON\n", "not\tJSON\n"),
        (b"\xff\x00A~ ", "00000000  ff 00 41 7e 20"),
        (b"a\x1b[2J", "00000000  61 1b 5b 32 4a"),
        ("\x9b2J".encode(), "00000000  c2 9b 32 4a"),
        (b'["\\ud800"]', '[\n  "\\ud800"\n]'),
        (b'["\\u009b2J\\u202e"]', '[\n  "\\u009b2J\\u202e"\n]'),
        (b"one\rtwo", "00000000  6f 6e 65 0d"),
        (b"one\r\ntwo", "one\ntwo"),
        (b"[" * 100_000, "[" * 1000),
        (b"1" * 5000, "1" * 5000),
    ],
)
def test_show_bytes(
    tmp_path: Path, payload: bytes, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_letters(tmp_path / "out", [dead_letter(3, payload)])
    dead_letters_command.show([str(tmp_path / "out"), "t/0/3"])
    shown = capsys.readouterr().out
    assert expected in shown
    assert "\x1b" not in shown
    assert "\x9b" not in shown


def test_show_raw(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    payload = os.urandom(1000)
    write_dead_letters(tmp_path / "out", [dead_letter(3, payload), dead_letter(4, b"")])
    for offset, expected in ((3, payload), (4, b"")):
        dead_letters_command.show([str(tmp_path / "out"), f"t/0/{offset}", "--raw"])
        assert capfdbinary.readouterr().out == expected


def test_show_what_is_not_there(output: str) -> None:
    with pytest.raises(InputError, match="holds no dead letter at a/0/2"):
        dead_letters_command.show([output, "a/0/2"])
    with pytest.raises(SettingsError, match="expected an OUTPUT and a SOURCE/PARTITION/OFFSET"):
        dead_letters_command.show([output])
    with pytest.raises(SettingsError, match="'x' is not a SOURCE/PARTITION/OFFSET"):
        dead_letters_command.show([output, "x"])


@pytest.mark.parametrize("terminal", [True, False])
def test_a_dead_letter_is_listed_on_one_line(
    tmp_path: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    source = "a-file-of-some-length.jsonl"
    dead_letters = [
        dead_letter(1, source=source, error="line 2: " + "many words and\n" * 40),
        dead_letter(
            2, source=source, error_type="AnErrorOfALongName", error="\x1b[2J" + "x" * 4000
        ),
    ]
    write_dead_letters(tmp_path / "out", dead_letters)
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "dumb")
    dead_letters_command.list_dead_letters([str(tmp_path / "out")])
    shown = screen.getvalue()
    lines = [line for line in shown.splitlines() if source in line]
    assert len(lines) == len(dead_letters)
    for line in lines:
        assert "2026-01-31T12:00:00Z" in line
    assert "line 2: many" in lines[1]
    assert "\x1b" not in shown
