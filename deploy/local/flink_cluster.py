"""A Flink cluster on this machine that runs Beam's Python pipelines. `deploy/local/flink` runs it.

It has a JobManager, TaskManagers, Beam's job server, which takes pipelines, and Beam's worker pool,
which starts the Python processes that a TaskManager asks for.
"""

import argparse
import importlib.util
import json
import shutil
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from flink_install import Installation, install, write_empty_jar
from flink_settings import HOST, JAVA_OPTIONS, LOGGING, Shape, configuration
from machine import SIMPLE_LOGGING, check_free, default_folder, free_port, java, listens
from processes import Service, only_one
from trouble import LocalError

_HERE: Final = Path(__file__).resolve().parent
_DEFAULT_PORTS: Final = {"rest": 8081, "jobserver": 8099, "workerpool": 50000}


class Cluster:
    """The cluster of a folder: `conf`, `logs`, `checkpoints`, `savepoints`, `NAME.pid`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shape_file = folder / "shape.json"
        self._ports_file = folder / "ports.json"
        self._conf = folder / "conf"

    @property
    def shape(self) -> Shape | None:
        """How large it is; None before its first start."""
        return Shape.read(self._shape_file) if self._shape_file.exists() else None

    @property
    def ports(self) -> dict[str, int]:
        """Its ports, as chosen at the first start."""
        if not self._ports_file.exists():
            return {}
        ports: dict[str, int] = json.loads(self._ports_file.read_text("ascii"))
        return ports

    def service(self, name: str) -> Service:
        """Return one of its processes."""
        return Service(self.folder, name)

    def up(self, shape: Shape, asked_ports: Mapping[str, int | None]) -> None:
        """Start what does not run, and wait until all of it works together.

        A cluster of another shape, or on other ports, is stopped first.

        :raises LocalError: something cannot be started.
        """
        ports = self._choose_ports(shape, asked_ports)
        if (self.shape, self.ports) != (shape, ports):
            self.down()
        names = [name for name in shape.names() if self.service(name).pid() is None]
        for name in _ports_of(names) & ports.keys():
            option = f"--{name}-port" if name in _DEFAULT_PORTS else f"a new --folder ({name})"
            check_free(ports[name], option)
        for folder in ("conf", "tmp", "checkpoints", "savepoints"):
            (self.folder / folder).mkdir(exist_ok=True, parents=True)
        shape.write(self._shape_file)
        self._ports_file.write_text(json.dumps(ports), "ascii")
        (self._conf / "config.yaml").write_text(configuration(self.folder, shape, ports), "utf-8")
        (self._conf / "log4j.properties").write_text(LOGGING, "ascii")
        self._installation.write_job_server_jar(self.folder / "jobserver.jar")
        write_empty_jar(self.folder / "nothing.jar")
        commands = {name: self._command(name) for name in names}
        try:
            for name, command in commands.items():
                self._start(name, command)
            for name in shape.names():
                self._wait_for(name)
        except LocalError:
            for name in names:
                self.service(name).stop(grace_seconds=1)
            raise
        self._describe()

    def start(self, name: str) -> None:
        """Start one process that was killed (`taskmanager` is the first), and wait until it works.

        :raises LocalError: there is no such process, or it cannot be started.
        """
        name = "taskmanager-1" if name == "taskmanager" else name
        shape = self.shape
        if shape is None or name not in shape.names():
            known = ", ".join(shape.names() if shape else ())
            raise LocalError(f"{name} is not a process of {self.folder} ({known or 'none'})")
        if self.service(name).pid() is None:
            self._start(name, self._command(name))
        self._wait_for(name)
        if name == "jobmanager":  # the TaskManagers come back to it
            for other in shape.names():
                if other.startswith("taskmanager") and self.service(other).pid() is not None:
                    self._wait_for(other)

    def down(self) -> None:
        """Stop all of it, with the Python processes that the worker pool started."""
        for name in reversed(self.shape.names() if self.shape else ()):
            self.service(name).stop(grace_seconds=5)

    def options(self) -> list[str]:
        """Return what Beam's PortableRunner needs to run a pipeline here."""
        ports, shape = self.ports, self.shape
        flink = [] if shape and shape.embedded else [f"--flink_master={HOST}:{ports['rest']}"]
        return [
            f"--job_endpoint={HOST}:{ports['jobserver']}",
            f"--artifact_endpoint={HOST}:{ports['artifacts']}",
            *flink,
            "--environment_type=EXTERNAL",
            f"--environment_config={HOST}:{ports['workerpool']}",
        ]

    @cached_property
    def _installation(self) -> Installation:
        return install()

    @property
    def _agent(self) -> str:
        return f"-javaagent:{self._installation.agent}"

    def _choose_ports(self, shape: Shape, asked: Mapping[str, int | None]) -> dict[str, int]:
        before = self.ports
        ports: dict[str, int] = {}
        for name in shape.ports():
            port = asked.get(name)
            if port is None:
                port = before.get(name) or _DEFAULT_PORTS.get(name, 0)
            ports[name] = port or before.get(name) or free_port(ports.values())
        return ports

    def _start(self, name: str, command: Sequence[str]) -> None:
        environment = {"FLINK_CONF_DIR": str(self._conf)}
        environment["FLINK_PLUGINS_DIR"] = str(self._installation.plugins)
        self.service(name).start(command, environment)

    def _command(self, name: str) -> list[str]:
        ports = self.ports
        if name == "workerpool":
            if importlib.util.find_spec("pipelines") is None:
                raise LocalError(f"{sys.executable} has no pubner; run `make setup` first")
            pool = ("-m", "pipelines.runners.worker_pool", f"--port={ports['workerpool']}")
            return [sys.executable, *pool]
        if name == "jobserver":
            master = f"{HOST}:{ports['rest']}" if "rest" in ports else "[local]"
            return [
                *(java(), self._agent, "-Xmx512m", "-XX:+UseSerialGC"),
                *(*JAVA_OPTIONS, *SIMPLE_LOGGING),
                f"-Dpubner.staged={self.folder / 'nothing.jar'}",
                *("-cp", str(self.folder / "jobserver.jar")),
                str(_HERE / "JobServer.java"),
                *(f"--flink-master={master}", f"--flink-conf-dir={self._conf}"),
                *(f"--job-host={HOST}", f"--job-port={ports['jobserver']}"),
                *(f"--artifact-port={ports['artifacts']}", "--expansion-port=0"),
                f"--artifacts-dir={self.folder / 'artifacts'}",
            ]
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        heap, metaspace = f"{(self.shape or Shape()).memory + 128}m", "256m"
        if name == "jobmanager":
            main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
            heap = "512m"
        return [
            *(java(), self._agent, f"-Xmx{heap}", f"-XX:MaxMetaspaceSize={metaspace}"),
            *JAVA_OPTIONS,
            "-XX:MaxDirectMemorySize=512m",
            f"-Dlog4j.configurationFile={(self._conf / 'log4j.properties').as_uri()}",
            *("-cp", self._installation.cluster_path(), main),
            *("--configDir", str(self._conf)),
            *("-D", f"metrics.reporter.prometheus.port={ports[f'prometheus-{name}']}"),
        ]

    def _wait_for(self, name: str) -> None:
        service = self.service(name)
        if name == "jobmanager":
            service.wait_until(lambda: self._overview() is not None)
        elif name.startswith("taskmanager"):
            service.wait_until(lambda: self._is_registered(name))
        else:
            service.wait_until(lambda: listens(self.ports[name]))

    def _is_registered(self, name: str) -> bool:
        """Return whether the JobManager counts the TaskManager that listens on its metrics port."""
        if not listens(self.ports[f"prometheus-{name}"]):
            return False
        running = [
            other
            for other in (self.shape or Shape()).names()
            if other.startswith("taskmanager") and self.service(other).pid() is not None
        ]
        overview = self._overview()
        return overview is not None and overview["taskmanagers"] >= len(running)

    def _overview(self) -> dict[str, Any] | None:
        url = f"http://{HOST}:{self.ports['rest']}/overview"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                overview: dict[str, Any] = json.load(answer)
                return overview
        except (OSError, ValueError):
            return None

    def _describe(self) -> None:
        ports = self.ports
        found = {
            "options": self.options(),
            "rest": f"http://{HOST}:{ports['rest']}" if "rest" in ports else None,
            "prometheus": {
                name.removeprefix("prometheus-"): f"http://{HOST}:{port}/metrics"
                for name, port in ports.items()
                if name.startswith("prometheus-")
            },
            "checkpoints": str(self.folder / "checkpoints"),
            "savepoints": str(self.folder / "savepoints"),
        }
        (self.folder / "flink.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def _ports_of(names: list[str]) -> set[str]:
    more = {"jobmanager": {"rest", "rpc", "blobs"}, "jobserver": {"artifacts"}}
    own = {port for name in names for port in (name, f"prometheus-{name}")}
    return own.union(*(more.get(name, set()) for name in names))


def print_status(cluster: Cluster) -> int:
    """Print each process and its PID; return 0, or 3 where one of them does not run."""
    names = cluster.shape.names() if cluster.shape else ()
    complete = bool(names)
    for name in names:
        service = cluster.service(name)
        pid = service.pid()
        complete = complete and pid is not None
        print(f"{name} {pid or 'down'}")
        for child in service.others():
            print(f"worker {child}")
    if not names:
        print("down")
    return 0 if complete else 3


def main(words: list[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="flink", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser(
        "up", help="start it; the last line printed is what `pubner stream` needs"
    )
    start = commands.add_parser("start", help="start one process that was killed")
    down = commands.add_parser("down", help="stop it; checkpoints and savepoints stay")
    status = commands.add_parser(
        "status", help="print the processes; exit status 3 where one is down"
    )
    for command in (up, start, down, status):
        command.add_argument(
            "--folder",
            type=Path,
            default=default_folder("flink"),
            help="logs, settings, checkpoints and savepoints",
        )
    start.add_argument("name", help="workerpool, jobmanager, taskmanager[-N] or jobserver")
    down.add_argument("--erase", action="store_true", help="delete the folder too")
    shape = Shape()
    up.add_argument("--taskmanagers", type=int, default=shape.taskmanagers, help="how many")
    up.add_argument("--slots", type=int, default=shape.slots, help="of each TaskManager")
    up.add_argument("--memory", type=int, default=shape.memory, help="its Java heap in MiB")
    up.add_argument(
        "--embedded",
        action="store_true",
        help="no cluster: the job server runs Flink in itself, without REST",
    )
    for name, port in _DEFAULT_PORTS.items():
        up.add_argument(
            f"--{name}-port", type=int, help=f"0 takes a free one (default: as before, else {port})"
        )
    asked = parser.parse_args(words)
    cluster = Cluster(asked.folder.absolute())
    if asked.command == "status":
        return print_status(cluster)
    try:
        with only_one(cluster.folder):
            if asked.command == "up":
                wanted = Shape(asked.taskmanagers, asked.slots, asked.memory, asked.embedded)
                ports = {name: getattr(asked, f"{name}_port") for name in _DEFAULT_PORTS}
                cluster.up(wanted, ports)
                print("--runner FlinkRunner --", *cluster.options())
            elif asked.command == "start":
                cluster.start(asked.name)
            else:
                cluster.down()
        if asked.command == "down" and asked.erase:
            shutil.rmtree(cluster.folder)
    except LocalError as error:
        print(f"deploy/local/flink: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
