"""`pubner checkpoint publish`, `list`, `show`, `verify`, `rollback` and `history`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands import registry as registry_command
from pubner import cli
from tests.support.checkpoints import sign_again
from tests.support.registries import moment, move, publish, small_checkpoint
from worker.checkpoint.folder import DICTIONARY, MANIFEST, default_checkpoint, read_manifest
from worker.registry.registry import Registry, open_registry
from worker.registry.who import default_who

Run = Callable[..., str]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry that the environment names, which nobody has written to yet."""
    (tmp_path / "registry").mkdir()
    monkeypatch.setenv("PUBNER_REGISTRY", str(tmp_path / "registry"))
    return open_registry(str(tmp_path / "registry"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `pubner checkpoint` with words, and returns what it printed."""

    def run(*words: str) -> str:
        capsys.readouterr()
        assert cli.main(["checkpoint", *words]) == 0, capsys.readouterr().err
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def complain(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `pubner checkpoint` with words that are wrong, and returns its one line."""

    def complain(*words: str) -> str:
        capsys.readouterr()
        assert cli.main(["checkpoint", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    return complain


def from_json(run: Run, *words: str) -> Any:
    return json.loads(run(*words, "--json=-"))


def test_publish_says_what_became_of_it(run: Run, registry: Registry, tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")
    identity = read_manifest(source).id
    said = run("publish", str(source), "--who=ann")
    assert said == f"published {identity} to {registry.root}\n"
    assert registry.publication(identity).who == "ann"
    again = run("publish", str(source), "--who=bob")
    assert again.startswith(f"{identity} is in {registry.root} already: whole, published 20")
    assert again.endswith("Z by ann\n")


def test_who_and_when_are_of_the_environment_and_the_clock(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "eve")
    source = small_checkpoint(tmp_path / "source")
    assert registry_command.publish([str(source)], clock=lambda: moment(3)) == 0
    found = registry.publication(read_manifest(source).id)
    assert found.who == default_who()
    assert found.who.startswith("eve@")
    assert found.when == moment(3)
    before = datetime.now(UTC)
    other = small_checkpoint(tmp_path / "other", 1)
    assert cli.main(["checkpoint", "publish", str(other)]) == 0
    assert before <= registry.publication(read_manifest(other).id).when <= datetime.now(UTC)


def test_who_it_is() -> None:
    assert default_who({"USER": "ann", "LOGNAME": "bob"}, "host") == "ann@host"
    assert default_who({"LOGNAME": "bob"}, "host") == "bob@host"
    assert default_who({}, "host").endswith("@host")
    assert len(default_who({}, "")) > 1


def test_list_shows_all_in_the_order_of_publication(
    run: Run, registry: Registry, tmp_path: Path
) -> None:
    assert "has no checkpoints" in run("list")
    assert list(Path(registry.root).iterdir()) == []
    assert from_json(run, "list")["checkpoints"] == []
    ids = [publish(registry, tmp_path, number) for number in range(3)]
    scored = small_checkpoint(tmp_path / "scored", 7)
    scores = {"strict_f1": 0.8577, "ece": 0.1}
    sign_again(
        scored, metrics={"devel/ncbi-disease": scores, "test/ncbi-disease": {"strict_f1": 0.1}}
    )
    registry.publish(scored, who="dan", when=moment(3))
    ids.append(read_manifest(scored).id)
    move(registry, ids[1])
    lines = [line for line in run("list").splitlines() if any(x in line for x in ids)]
    assert [next(x for x in ids if x in line) for line in lines] == ids
    assert [line.lstrip().startswith("*") for line in lines] == [False, True, False, False]
    assert "2026-03-01T12:01:00Z" in lines[1]
    assert "ann1" in lines[1]
    assert "ncbi-disease 85.8" in lines[3]
    found = from_json(run, "list")
    assert (found["registry"], found["active"]) == (registry.root, ids[1])
    assert found["checkpoints"][3] == {
        "id": ids[3],
        "active": False,
        "heads": ["ncbi-disease"],
        "published": "2026-03-01T12:03:00Z",
        "who": "dan",
        "devel": {"ncbi-disease": 0.8577},
        "error": None,
    }
    (Path(registry.root) / "published" / f"{ids[1]}.json").unlink()
    assert f"the active checkpoint, {ids[1]}, is not here any more" in run("list")


def test_a_damaged_checkpoint_hides_no_other(run: Run, registry: Registry, tmp_path: Path) -> None:
    first, second, third = (publish(registry, tmp_path, number) for number in range(3))
    (Path(registry.root) / "checkpoints" / first / MANIFEST).write_bytes(b"{")
    (Path(registry.root) / "published" / f"{second}.json").write_bytes(b"{")
    found = {entry["id"]: entry for entry in from_json(run, "list")["checkpoints"]}
    assert "is not a valid manifest" in found[first]["error"]
    assert "is damaged" in found[second]["error"]
    assert found[third]["error"] is None
    assert found.keys() == {first, second, third}
    table = run("list")
    assert all(identity in table for identity in found)
    assert "damaged" in table


def test_verify_reads_all_of_it(
    run: Run, complain: Run, registry: Registry, tmp_path: Path
) -> None:
    identity = publish(registry, tmp_path)
    assert complain("verify", "active").startswith("pubner: ")
    move(registry, identity)
    for name in (identity, identity[:5], "active"):
        assert f"{identity} is whole" in run("verify", name)
    folder = tmp_path / "source-0"
    assert f"{identity} is whole" in run("verify", str(folder))
    (Path(registry.root) / "checkpoints" / identity / DICTIONARY).write_bytes(b"{}")
    assert f"{DICTIONARY} is altered" in complain("verify", identity)
    assert f"{identity} is whole" in run("verify", str(folder))
    (folder / DICTIONARY).unlink()
    assert "cannot be read" in complain("verify", str(folder))


def test_without_a_registry_names_are_folders(
    run: Run, complain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    identity = read_manifest(small_checkpoint(tmp_path / "abc")).id
    assert f"{identity} is whole" in run("verify", "abc")
    shipped = read_manifest(default_checkpoint(), verify=False).id
    assert f"{shipped} is whole" in run("verify", "default")
    assert "give one with --registry" in complain("verify", "active")
    assert "no checkpoint at" in complain("show", identity)
    (tmp_path / "registry").mkdir()
    monkeypatch.setenv("PUBNER_REGISTRY", str(tmp_path / "registry"))
    assert "no checkpoint whose id begins with 'abc'" in complain("show", "abc")
    published = publish(open_registry(str(tmp_path / "registry")), tmp_path)
    for command in ("verify", "show"):
        said = complain(command, "zzzz")
        assert "no checkpoint at 'zzzz'" in said
        assert f"{tmp_path}/registry, which has {published}" in said
    assert identity in run("show", "./abc")


def test_show_shows_what_is_published(run: Run, registry: Registry, tmp_path: Path) -> None:
    identity, other = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    move(registry, identity)
    found = from_json(run, "show", "active")
    manifest = registry.manifest(identity).model_dump(mode="json")
    assert {name: found[name] for name in manifest} == manifest
    assert found["path"] == f"{registry.root}/checkpoints/{identity}"
    assert (found["active"], found["who"]) == (True, "ann1")
    assert datetime.fromisoformat(found["published"]) == moment(1)
    assert from_json(run, "show", other[:7])["active"] is False
    table = run("show", identity)
    assert "head ncbi-disease" in table
    assert "by ann1" in table
    folder = from_json(run, "show", str(tmp_path / "source-1"))
    assert "active" not in folder
    assert folder["path"] == str(tmp_path / "source-1")


def test_rollback_goes_back_and_history_tells_of_it(
    run: Run, complain: Run, registry: Registry, tmp_path: Path
) -> None:
    assert "was ever active" in run("history")
    assert from_json(run, "history") == {"registry": registry.root, "changes": []}
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    assert "has no active checkpoint" in complain("rollback", "--why=x")
    move(registry, first)
    assert "nothing to roll back to" in complain("rollback", "--why=x")
    move(registry, second)
    said = run("rollback", "--why=worse on devices", "--who=bob")
    assert said == f"{first} is active in {registry.root}; before it was {second}\n"
    changes = from_json(run, "history")["changes"]
    assert [change["id"] for change in changes] == [first, second, first]
    when = changes[2].pop("when")
    assert datetime.fromisoformat(when).utcoffset() is not None
    assert changes[2] == {
        "number": 3,
        "action": "rollback",
        "id": first,
        "previous": second,
        "who": "bob",
        "why": "worse on devices",
        "forced": False,
        "report": None,
    }
    table = run("history")
    assert table.index("reason 1") < table.index("reason 2") < table.index("bob")
    assert table.count("promote") == 2
    assert "2026-03-01T12:01:00Z" in table


def test_a_forced_promotion_is_seen_in_the_history(
    run: Run, registry: Registry, tmp_path: Path
) -> None:
    identity = publish(registry, tmp_path)
    registry.move(
        registry.pointer(),
        identity,
        action="promote",
        who="ann",
        when=moment(),
        why="[bold]urgent",
        forced=True,
        report=f"gate/{identity}/report.json",
    )
    assert "promote, forced" in run("history")
    assert "[bold]urgent" in run("history"), "a reason is no mark-up"
    assert from_json(run, "history")["changes"][0]["report"] == f"gate/{identity}/report.json"


def test_nothing_is_rolled_back_to_a_damaged_checkpoint(
    complain: Run, registry: Registry, tmp_path: Path
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    move(registry, first)
    move(registry, second)
    (Path(registry.root) / "checkpoints" / first / DICTIONARY).unlink()
    assert f"{first}/{DICTIONARY} is missing" in complain("rollback", "--why=worse")
    assert registry.active().id == second


def test_a_rollback_passes_over_a_damaged_checkpoint_when_told_to(
    run: Run, complain: Run, registry: Registry, tmp_path: Path
) -> None:
    first, second, third, other = (publish(registry, tmp_path, number) for number in range(4))
    for identity in (first, second, third):
        move(registry, identity)
    (Path(registry.root) / "checkpoints" / second / DICTIONARY).unlink()
    said = complain("rollback", "--why=worse")
    assert f"{second}/{DICTIONARY} is missing" in said
    assert f"--to ID, one of {first}\n" in said
    for wrong in (other, third, "zz"):
        assert f"--to '{wrong}': no checkpoint of that id" in complain(
            "rollback", "--why=worse", f"--to={wrong}"
        )
    run("rollback", "--why=worse", f"--to={first[:12]}")
    change = registry.active()
    assert (change.id, change.previous, change.action) == (first, third, "rollback")
    assert "nothing to roll back to" in complain("rollback", "--why=worse")


def test_a_table_that_is_piped_loses_and_folds_nothing(
    run: Run, registry: Registry, tmp_path: Path
) -> None:
    scored = small_checkpoint(tmp_path / "scored", 7)
    heads = ("ncbi-disease", "bc2gm", "jnlpba", "bc4chemd", "linnaeus", "bc5cdr", "s800")
    sign_again(scored, metrics={f"devel/{name}": {"strict_f1": 0.8577} for name in heads})
    registry.publish(scored, who="a.very.long.name@a-machine-of-a-cluster", when=moment(3))
    identity = read_manifest(scored).id
    move(registry, identity)
    (line,) = (line for line in run("list").splitlines() if identity in line)
    for word in ("a.very.long.name@a-machine-of-a-cluster", "2026-03-01T12:03:00Z"):
        assert word in line
    assert ", ".join(f"{name} 85.8" for name in heads) in line
    why = "a reason that takes more than one line of a table, for it is told at some length"
    registry.move(
        registry.pointer(),
        publish(registry, tmp_path, 1),
        action="promote",
        who="ann",
        when=moment(4),
        why=why,
    )
    (line,) = (line for line in run("history").splitlines() if why in line)
    assert identity in line


def test_a_rollback_that_is_overtaken_is_told(
    complain: Run, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (publish(registry, tmp_path, number) for number in range(3))
    move(registry, first)
    move(registry, second)
    verify = Registry.verify

    def overtake(self: Registry, checkpoint_id: str) -> Any:
        move(registry, third)
        return verify(self, checkpoint_id)

    monkeypatch.setattr(Registry, "verify", overtake)
    said = complain("rollback", "--why=worse")
    assert f"moved to {third} by ann (change 3: reason 3) meanwhile; nothing was changed" in said
    assert registry.active().id == third


def test_what_can_only_be_read_is_refused_with_the_reason(
    complain: Run, run: Run, tmp_path: Path
) -> None:
    root = f"--registry=memory://{tmp_path.name}"
    source = small_checkpoint(tmp_path / "source")
    assert "cannot publish in memory://" in complain("publish", str(source), root)
    assert "cannot rollback in memory://" in complain("rollback", root, "--why=x")
    assert "has no checkpoints" in run("list", root)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["publish", "default"], "missing required option --registry"),
        (["publish", "--registry=r"], "missing argument CHECKPOINT"),
        (["publish", "nowhere", "--registry=r"], "no checkpoint at 'nowhere'"),
        (["publish", "default", "--registry=r", "--who="], "option --who ''"),
        (["list"], "missing required option --registry"),
        (["list", "--registry="], "option --registry ''"),
        (["list", "--registry=nonsense://x"], "cannot open 'nonsense://x'"),
        (["history"], "missing required option --registry"),
        (["rollback", "--registry=r"], "missing required option --why"),
        (["rollback", "--registry=r", "--why= "], "option --why ' ': expected a reason"),
        (["verify"], "missing argument CHECKPOINT"),
        (["verify", "abc", "--registry=r"], "r has no checkpoint whose id begins with 'abc'"),
        (["show", "active", "--registry=r"], "r has no active checkpoint"),
    ],
)
def test_what_is_wrong_is_one_line(
    complain: Run,
    words: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r").mkdir()
    assert part in complain(*words)
    assert list(tmp_path.iterdir()) == [tmp_path / "r"]
    assert list((tmp_path / "r").iterdir()) == []


def test_history_says_which_checkpoints_are_not_there_any_more(
    run: Run, registry: Registry, tmp_path: Path
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    move(registry, first)
    move(registry, second)
    assert "any more" not in run("history")
    (tmp_path / "registry" / "published" / f"{first}.json").unlink()
    assert run("history").splitlines()[-1] == f"not in {registry.root} any more: {first}"


@pytest.mark.parametrize("command", ["list", "history"])
def test_a_folder_that_is_no_registry(
    run: Run, complain: Run, command: str, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    assert str(folder) in run(command, f"--registry={folder}")
    (folder / "citations").mkdir()
    line = complain(command, f"--registry={folder}")
    assert "is not a registry: it holds citations" in line
