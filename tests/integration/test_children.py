"""A command that is killed leaves no process behind, whatever runs its pipeline."""

import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.integration.conftest import need
from tests.support.annotating import articles, pubmed_xml
from tests.support.commands import Running, start_pubner
from tests.support.processes import descendants, exposed, still_running
from tests.support.services import run_local


def start(tmp_path: Path, checkpoint: Path, runner: str, *beam: str) -> Running:
    source = pubmed_xml(tmp_path / "a.xml", articles(3000))
    words = ["annotate", str(source), f"--output={tmp_path / 'out'}", f"--checkpoint={checkpoint}"]
    words += ["--threads=1", "--block-size=5", f"--runner={runner}", "--", *beam]
    return start_pubner(tmp_path / "log", *words)


def await_descendants(
    running: Running, enough: Callable[[list[psutil.Process]], bool]
) -> list[psutil.Process]:
    while not enough(found := descendants(running.pid)):
        assert running.is_alive, running.finish().err
        time.sleep(0.1)
    return found


def await_rows(running: Running, out: Path) -> None:
    while not list(out.glob("citations/*.parquet")):
        assert running.is_alive, running.finish().err
        time.sleep(0.1)


def kill(running: Running, found: list[psutil.Process]) -> None:
    running.send(signal.SIGKILL)
    assert running.finish().code == -signal.SIGKILL
    assert still_running(found) == []


def test_prism_ends_with_its_command(tmp_path: Path, checkpoint: Path, prism: str) -> None:
    running = start(tmp_path, checkpoint, "PrismRunner", f"--prism_location={prism}")
    await_rows(running, tmp_path / "out")
    found = descendants(running.pid)
    assert [x for x in found if "prism" in x.name()]
    # Neither Prism nor the pool by which it reaches the command's own worker.
    assert exposed([running.pid, *(x.pid for x in found)]) == []
    kill(running, found)


def test_worker_processes_of_the_in_process_runner_end_with_their_command(
    tmp_path: Path, checkpoint: Path
) -> None:
    options = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    running = start(tmp_path, checkpoint, "DirectRunner", *options)
    await_rows(running, tmp_path / "out")
    found = descendants(running.pid)
    assert len([x for x in found if "sdk_worker_main" in " ".join(x.cmdline())]) >= 2
    assert exposed([running.pid, *(x.pid for x in found)]) == []
    kill(running, found)


def test_beam_s_own_job_server_for_flink_ends_with_its_command(
    tmp_path: Path, checkpoint: Path
) -> None:
    need("java", "mvn")
    folder = tmp_path / "flink"
    ports = [f"--{name}-port=0" for name in ("jobserver", "workerpool")]
    made = run_local("flink", "up", "--embedded", f"--folder={folder}", *ports)
    assert made.returncode == 0, made.stderr
    run_local("flink", "down", f"--folder={folder}")
    jar = tmp_path / "beam-job-server.jar"
    with zipfile.ZipFile(folder / "jobserver.jar") as names, zipfile.ZipFile(jar, "w") as server:
        manifest = names.read("META-INF/MANIFEST.MF").decode().strip()
        main = "Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver"
        server.writestr("META-INF/MANIFEST.MF", f"{manifest}\r\n{main}\r\n\r\n")
    running = start(
        tmp_path,
        checkpoint,
        "FlinkRunner",
        "--flink_master=[local]",
        f"--flink_job_server_jar={jar}",
    )
    found = await_descendants(running, lambda some: any(x.name() == "java" for x in some))
    kill(running, found)
