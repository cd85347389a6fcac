"""A Kafka broker of one node (KRaft) on this machine. `deploy/local/kafka` runs it."""

import argparse
import base64
import json
import shutil
import socket
import struct
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

from jars import fetch_jars
from kafka_security import MECHANISMS, Security, make_security, read_security
from machine import CACHE, SIMPLE_LOGGING, check_free, default_folder, free_port, java
from processes import Service, only_one
from trouble import LocalError

VERSION: Final = "4.1.0"
DEFAULT_PORT: Final = 9092
HOST: Final = "127.0.0.1"
_HERE: Final = Path(__file__).resolve().parent
_PLACES: Final = ("port", "controller", "sasl_ssl", "mtls")

# Suits tests: nothing is created unasked, groups begin at once, what is over is cleared soon.
_SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
delete.topic.enable=true
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
num.io.threads=2
num.network.threads=2
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
"""


class Broker:
    """The broker of a folder: `data`, `logs`, `server.properties`, `kafka.pid`."""

    def __init__(self, folder: Path, *, heap: str = "512m") -> None:
        self.folder = folder
        self.service = Service(folder, "kafka")
        self._heap = heap
        self._properties = folder / "server.properties"
        self._places_file = folder / "ports.json"

    @property
    def places(self) -> dict[str, int]:
        """The port of each listener, as chosen at the first start."""
        if not self._places_file.exists():
            return {}
        places: dict[str, int] = json.loads(self._places_file.read_text("ascii"))
        return places

    @property
    def address(self) -> str:
        """The bootstrap address of the listener without security."""
        return f"{HOST}:{self.places['port']}"

    def up(self, *, port: int | None, secure: bool) -> None:
        """Start the broker where it does not run, and wait until it answers.

        `port` None takes the port of the last time. A broker that runs on another port than the
        one asked for, or without the secure listeners that are asked for, is started again.

        :raises LocalError: it cannot be started.
        """
        secure = secure or (self.folder / "secure.json").exists()
        places = self._choose_places(port, secure=secure)
        if self.service.pid() is not None:
            if places == self.places:
                self.service.wait_until(self.answers)
                return
            self.service.stop()
        for name, number in places.items():
            check_free(number, "--port" if name == "port" else f"a new --folder ({name})")
        jars = fetch_jars(_HERE / "kafka.xml", CACHE / "kafka" / VERSION)
        security = make_security(self.folder, HOST) if secure else None
        self._properties.write_text(self._configuration(places, security), "utf-8")
        self._properties.chmod(0o600)
        self._places_file.write_text(json.dumps(places), "ascii")
        self._format(jars)
        self.service.start(self._java(jars, "kafka.Kafka", str(self._properties)))
        try:
            self.service.wait_until(self.answers)
        except LocalError:
            self.service.stop(grace_seconds=1)
            raise
        if security is not None:
            security.describe(
                f"{HOST}:{places['sasl_ssl']}", f"{HOST}:{places['mtls']}", self.folder
            )

    def answers(self) -> bool:
        """Return whether the broker is part of the cluster, by Kafka's own protocol."""
        request = struct.pack(">hhihi", 3, 1, 7, -1, 0)  # metadata, version 1, of no topic
        try:
            with socket.create_connection((HOST, self.places["port"]), timeout=5) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                with connection.makefile("rb") as answer:
                    head = answer.read(12)
        except OSError:
            return False
        return len(head) == 12 and struct.unpack(">iii", head)[1:] > (7, 0)

    def down(self) -> None:
        """Stop the broker; its data stay."""
        self.service.stop()

    def _choose_places(self, port: int | None, *, secure: bool) -> dict[str, int]:
        places = self.places
        if port == 0:
            port = places.get("port") or free_port()
        places["port"] = port or places.get("port") or DEFAULT_PORT
        for name in _PLACES if secure else _PLACES[:2]:
            if name not in places:
                places[name] = free_port(places.values())
        return places

    def _configuration(self, places: dict[str, int], security: Security | None) -> str:
        listeners = {"PLAINTEXT": places["port"], "CONTROLLER": places["controller"]}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
        if security is not None:
            listeners |= {"SECURE": places["sasl_ssl"], "MTLS": places["mtls"]}
            protocols |= {"SECURE": "SASL_SSL", "MTLS": "SSL"}
        named = ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
        mapped = ",".join(f"{name}:{protocol}" for name, protocol in protocols.items())
        lines = [
            f"controller.quorum.voters=1@{HOST}:{places['controller']}",
            f"listeners={named}",
            f"listener.security.protocol.map={mapped}",
            f"log.dirs={self.folder / 'data'}",
            *(security.broker_settings() if security is not None else ()),
        ]
        return _SETTINGS + "\n".join(lines) + "\n"

    def _format(self, jars: Path) -> None:
        if (self.folder / "data" / "meta.properties").exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # what a broken start left
        users = read_security(self.folder)
        cluster = base64.urlsafe_b64encode(b"\x00" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties)]
        for mechanism in MECHANISMS:
            tool += ["--add-scram", users.scram(mechanism)]
        done = subprocess.run(
            self._java(jars, *tool), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise LocalError(f"the data folder cannot be formatted: {done.stderr.strip()[-500:]}")

    def _java(self, jars: Path, *words: str) -> list[str]:
        return [
            java(),
            f"-Xmx{self._heap}",
            "-XX:+UseSerialGC",
            *SIMPLE_LOGGING,
            "-cp",
            f"{jars}/*",
            *words,
        ]


def main(words: list[str]) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="kafka", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it; the last line printed is its address")
    down = commands.add_parser("down", help="stop it; its data stay")
    status = commands.add_parser("status", help="print its address; exit status 3 where it is down")
    for command in (up, down, status):
        command.add_argument(
            "--folder", type=Path, default=default_folder("kafka"), help="data, logs and settings"
        )
    up.add_argument(
        "--port", type=int, help=f"0 takes a free one (default: as before, else {DEFAULT_PORT})"
    )
    up.add_argument(
        "--secure", action="store_true", help="add listeners with TLS; they stay (secure.json)"
    )
    up.add_argument("--heap", default="512m", help="largest Java heap")
    down.add_argument("--erase", action="store_true", help="delete the folder too")
    asked = parser.parse_args(words)
    broker = Broker(asked.folder.absolute(), heap=getattr(asked, "heap", "512m"))
    try:
        if asked.command == "status":
            if broker.service.pid() is None or not broker.answers():
                print("down")
                return 3
            print(broker.address)
            return 0
        with only_one(broker.folder):
            if asked.command == "up":
                broker.up(port=asked.port, secure=asked.secure)
                print(broker.address)
            else:
                broker.down()
        if asked.command == "down" and asked.erase:
            shutil.rmtree(broker.folder)
    except LocalError as error:
        print(f"deploy/local/kafka: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
