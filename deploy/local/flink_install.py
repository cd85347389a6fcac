"""Flink and Beam's runner for it: where their jars come from, and which of them go where."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jars import fetch_jars, put_in_place
from machine import CACHE, java
from trouble import LocalError

FLINK: Final = "1.19.3"
BEAM: Final = "2.62.0"
_HERE: Final = Path(__file__).resolve().parent
# Flink's tables, state processors and formats are not needed; loading them costs seconds.
_CLUSTER_JARS: Final = ("flink-dist-", "log4j-")
_PROMETHEUS: Final = "plugins/metrics-prometheus"
_AGENT: Final = _HERE / "Loopback.java"


@dataclass(frozen=True, slots=True)
class Installation:
    """The folders of jars: Flink's own and its plug-ins, and Beam's with all that it needs.

    `agent` is a jar for `java -javaagent:`, which keeps a process off all interfaces but loopback.
    """

    flink: Path
    beam: Path
    agent: Path

    @property
    def plugins(self) -> Path:
        """The folder of Flink's plug-ins."""
        return self.flink / "plugins"

    def cluster_path(self) -> str:
        """Return the class path of JobManager and TaskManagers.

        It holds Beam's jars: what a job brings along itself is loaded per job, and is never freed.
        """
        own = sorted((self.flink / "lib").iterdir())
        beam = [
            jar
            for jar in sorted(self.beam.iterdir())
            if not jar.name.startswith(("flink-", "slf4j-simple-"))
        ]
        return ":".join(str(jar) for jar in (*own, *beam))

    def write_job_server_jar(self, file: Path) -> None:
        """Write a jar that holds nothing but the names of the job server's jars."""
        names = " ".join(jar.as_uri() for jar in sorted(self.beam.iterdir()))
        with zipfile.ZipFile(file, "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", _manifest(f"Class-Path: {names}"))


def write_empty_jar(file: Path) -> None:
    """Write what a job brings to the cluster, which has Beam's jars itself.

    Unless told so, the job server sends 150 MB of jars along with each job, which takes 13 s.
    """
    with zipfile.ZipFile(file, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", _manifest())


def install() -> Installation:
    """Return the installation in the cache; what is missing is fetched.

    :raises LocalError: it cannot be, or is not what is pinned.
    """
    beam = fetch_jars(_HERE / "flink.xml", CACHE / "flink" / f"beam-{BEAM}")
    return Installation(_fetch_flink(CACHE / "flink" / FLINK), beam, _build_agent(beam))


def _build_agent(beam: Path) -> Path:
    """Compile the agent, where that was not done before; it uses one of Beam's jars."""
    source = _AGENT.read_bytes()
    jar = CACHE / "flink" / f"loopback-{hashlib.sha256(source).hexdigest()[:12]}.jar"
    if jar.is_file():
        return jar
    (library,) = beam.glob("byte-buddy-*.jar")
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=jar.parent) as name:
        compiler = [java(), "--module", "jdk.compiler/com.sun.tools.javac.Main", "--release", "11"]
        command = [*compiler, "-cp", str(library), "-d", name, str(_AGENT)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
            raise LocalError(
                f"{java()} cannot compile {_AGENT.name} ({said[0][:200]}); a JDK is needed, "
                "e.g. apt install openjdk-17-jdk-headless"
            )
        made = Path(name) / jar.name
        with zipfile.ZipFile(made, "w") as opened:
            opened.writestr(
                "META-INF/MANIFEST.MF",
                _manifest(
                    f"Premain-Class: {_AGENT.stem}",
                    "Can-Retransform-Classes: true",
                    f"Class-Path: {library.as_uri()}",
                ),
            )
            for compiled in Path(name).glob("*.class"):
                opened.write(compiled, compiled.name)
        made.replace(jar)
    return jar


def _fetch_flink(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    print(f"fetching Flink {FLINK} from PyPI into {folder} (230 MB)", file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as name:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes"]
        command += ["--requirement", str(_HERE / "flink-libraries.txt"), "--dest", name]
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
            raise LocalError(
                "pip could not download Flink (above); check the network and pip's settings"
            )
        (archive,) = Path(name).glob("apache*flink*libraries*.tar.gz")
        unpacked = Path(name) / "unpacked"
        with tarfile.open(archive) as opened:
            for member in opened:
                place = member.name.partition("/deps/")[2]
                if member.isfile() and _is_needed(place):
                    member.name = place
                    opened.extract(member, unpacked, filter="data")
        put_in_place(unpacked, folder)
    return folder


def _is_needed(place: str) -> bool:
    folder, _, name = place.rpartition("/")
    return folder == _PROMETHEUS or (folder == "lib" and name.startswith(_CLUSTER_JARS))


def _manifest(*lines: str) -> str:
    """Return a jar's manifest; its lines hold 72 bytes at most, and a blank continues one."""
    parts = ["Manifest-Version: 1.0"]
    for line in lines:
        parts += [line[:72], *(f" {line[at : at + 71]}" for at in range(72, len(line), 71))]
    return "\r\n".join([*parts, "", ""])
