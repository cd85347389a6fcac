"""What the processes of the local Flink cluster are told: ports, memory, Flink's own settings."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
# Reflection that Flink and its serialisers need on Java 17, as in Flink's own config.yaml.
_OPENS: Final = (
    "java.base/java.lang java.base/java.net java.base/java.io java.base/java.nio "
    "java.base/sun.nio.ch java.base/java.lang.reflect java.base/java.text java.base/java.time "
    "java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic "
    "java.base/java.util.concurrent.locks"
)
_EXPORTS: Final = (
    "java.base/sun.net.util java.rmi/sun.rmi.registry java.security.jgss/sun.security.krb5 "
    "jdk.compiler/com.sun.tools.javac.api jdk.compiler/com.sun.tools.javac.file "
    "jdk.compiler/com.sun.tools.javac.parser jdk.compiler/com.sun.tools.javac.tree "
    "jdk.compiler/com.sun.tools.javac.util"
)
JAVA_OPTIONS: Final = (
    *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTS.split()),
    *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENS.split()),
)
LOGGING: Final = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.name = console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSZ} %-5p %-60c %x - %m%n
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the cluster is; memory is each TaskManager's heap, in MiB."""

    taskmanagers: int = 1
    slots: int = 2
    memory: int = 768
    embedded: bool = False

    def write(self, file: Path) -> None:
        """Keep it in `file`."""
        file.write_text(json.dumps(asdict(self)), "ascii")

    @classmethod
    def read(cls, file: Path) -> "Shape":
        """Return what `file` keeps."""
        return cls(**json.loads(file.read_text("ascii")))

    def names(self) -> tuple[str, ...]:
        """Return the names of its processes, in the order in which they start."""
        if self.embedded:
            return ("workerpool", "jobserver")
        managers = (f"taskmanager-{number + 1}" for number in range(self.taskmanagers))
        return ("workerpool", "jobmanager", *managers, "jobserver")

    def ports(self) -> tuple[str, ...]:
        """Return the names of the ports that it needs."""
        if self.embedded:
            return ("workerpool", "jobserver", "artifacts")
        metrics = (f"prometheus-{name}" for name in self.names() if "manager" in name)
        return ("workerpool", "jobserver", "artifacts", "rest", "rpc", "blobs", *metrics)


def configuration(folder: Path, shape: Shape, ports: dict[str, int]) -> str:
    """Return Flink's `config.yaml`."""
    settings: dict[str, object] = {
        "blob.server.port": ports.get("blobs", 0),
        # Beam's jars lie beside Flink's own; what a job brings is but a list of their names.
        "classloader.resolve-order": "parent-first",
        # Processes that start side by side find each other at once.
        "cluster.registration.error-delay": 500,
        "cluster.registration.initial-timeout": 500,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        # A TaskManager that is killed is missed in seconds.
        "heartbeat.interval": 1000,
        "heartbeat.timeout": 10000,
        "io.tmp.dirs": folder / "tmp",
        "jobmanager.bind-host": HOST,
        "jobmanager.memory.heap.size": "512m",
        "jobmanager.memory.jvm-metaspace.size": "256m",
        "jobmanager.memory.jvm-overhead.min": "192m",
        "jobmanager.memory.jvm-overhead.max": "192m",
        "jobmanager.memory.off-heap.size": "128m",
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": ports.get("rpc", 6123),
        "metrics.reporters": "prometheus",
        "metrics.reporter.prometheus.factory.class": (
            "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
        ),
        # On a machine that is busy its start takes longer than the ten seconds that Flink gives it.
        "pekko.startup-timeout": "60 s",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": ports.get("rest", 0),
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 1_000_000,
        "restart-strategy.fixed-delay.delay": "1 s",
        "state.backend.type": "hashmap",
        "state.checkpoints.dir": (folder / "checkpoints").as_uri(),
        "state.checkpoints.num-retained": 3,
        "state.savepoints.dir": (folder / "savepoints").as_uri(),
        # With a worker that is stopped a task takes four minutes to end. After three Flink would
        # end the TaskManager, which nobody starts again here.
        "task.cancellation.timeout": 600_000,
        "taskmanager.bind-host": HOST,
        "taskmanager.cpu.cores": float(shape.slots),
        "taskmanager.host": HOST,
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        "taskmanager.memory.managed.size": "16m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "64m",
        "taskmanager.memory.task.heap.size": f"{shape.memory}m",
        "taskmanager.memory.task.off-heap.size": "256m",
        "taskmanager.numberOfTaskSlots": shape.slots,
    }
    return "".join(f"{name}: {json.dumps(str(value))}\n" for name, value in settings.items())
