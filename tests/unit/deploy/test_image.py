"""The image's recipe names what is there, locked, and gives its processes no rights to spare."""

import importlib.util
import json
import re
import tomllib
from fnmatch import fnmatch

import yaml

from pipelines.runners.worker_pool import LOOPBACK
from tests.support.root import ROOT

DEPLOY = ROOT / "deploy"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def pins(name: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / "requirements" / name).read_text("utf-8")))


def test_each_file_that_is_copied_is_there_and_may_be_sent_to_docker() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignore[0] == "*"
    allowed = {word[1:] for word in ignore if word[0] == "!"}
    copied = [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert set(copied) == allowed
    for source in copied:
        assert (ROOT / source).exists(), source
    assert not any(fnmatch(source, word) for source in copied for word in ignore[1:])


def test_nothing_is_installed_that_is_not_locked_by_its_hash() -> None:
    installs = [
        command
        for word, rest in instructions()
        if word == "RUN"
        for command in rest.split("&&")
        if "pip " in command
    ]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or "--no-deps" in command, command
        assert "wheel " not in command or "--no-build-isolation" in command, command
    for name in ("image.txt", "build.txt"):
        text = (ROOT / "requirements" / name).read_text("utf-8")
        entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
        assert all("--hash=sha256:" in entry for entry in entries)


def test_the_lock_has_the_extras_in_the_versions_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    image, tested = pins("image.txt"), pins("dev.txt")
    wanted = [*project["project"]["dependencies"]]
    for extra in ("training", "aws", "gcp", "http"):
        wanted += extras[extra]
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name is not None
        assert name[0] in image, requirement
    assert {"boto3", "google-cloud-storage", "torch", "seqeval"} <= image.keys()
    differing = {x for x in image.keys() & tested.keys() if image[x] != tested[x]}
    assert differing == set()
    [backend] = project["build-system"]["requires"]
    assert backend == (ROOT / "requirements" / "build.in").read_text("utf-8").strip()
    assert pins("build.txt")["hatchling"] == tested["hatchling"]


def test_the_last_stage_runs_as_another_user_than_root() -> None:
    words = [word for word, _ in instructions()]
    last = instructions()[len(words) - 1 - words[::-1].index("FROM") :]
    [user] = [rest for word, rest in last if word == "USER"]
    number = user.partition(":")[0]
    assert (number.isdecimal(), number != "0") == (True, True)
    assert any(f"useradd --uid {number} " in rest for word, rest in last)
    names = [word for word, _ in last]
    assert "RUN" not in names[names.index("USER") :]
    assert "EXPOSE" not in names


def test_what_it_starts_is_the_pool_on_loopback() -> None:
    found = dict(instructions())
    python, flag, module = json.loads(found["ENTRYPOINT"])
    assert (python, flag) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None
    assert json.loads(found["CMD"]) == ["--port=50000"]
    assert LOOPBACK == "127.0.0.1"


def test_the_python_is_one_that_pubner_supports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    images = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert images == {"python:3.11-slim"}
    assert "Programming Language :: Python :: 3.11" in project["project"]["classifiers"]


def test_the_compose_file_lets_the_image_s_user_write() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    needed = services["workerpool"]["depends_on"]["output"]["condition"]
    assert needed == "service_completed_successfully"
    assert services["output"]["entrypoint"] == ["chown", "1000:1000", "/output"]
    assert services["output"]["volumes"] == services["workerpool"]["volumes"]
