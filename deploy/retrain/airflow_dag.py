"""An Airflow DAG that retrains once a month; put it into the folder of DAGs and change the paths.

The task may be retried at any time: `pubner retrain` goes on where it was broken off. A checkpoint
that the gate refuses fails the task for good, with the gate's line in the log.
"""

import subprocess
from datetime import timedelta
from pathlib import Path

import pendulum
from airflow.decorators import dag, task
from airflow.exceptions import AirflowFailException

PUBNER = "/opt/pubner/.venv/bin/pubner"
REGISTRY = "s3://pubner/registry"
ROUNDS = "/srv/pubner/rounds"
CORPORA = "/srv/pubner/corpora"
PUBMED = Path("/srv/pubmed")  # NLM's baseline/ and updatefiles/
CANARY_FILES = 5
REFUSED = 3


def newest_files(folder: Path, count: int) -> list[str]:
    """Return the newest of NLM's files under `folder`, by the year and number in their names."""
    found = folder.rglob("pubmed[0-9][0-9]n[0-9]*.xml.gz")
    return [str(path) for path in sorted(found, key=lambda path: path.name)[-count:]]


@dag(
    schedule="@monthly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
)
def pubner_retrain() -> None:
    """Retrain, judge, and go live."""

    @task(retries=5, retry_delay=timedelta(minutes=10), execution_timeout=timedelta(days=2))
    def retrain(ds: str = "") -> None:
        """Run the round of the month that `ds`, Airflow's date of the run, lies in."""
        month = ds[:7]
        words = [PUBNER, "retrain", "--registry", REGISTRY, "--output", f"{ROUNDS}/{month}"]
        words += ["--data", CORPORA, "--promote", "--why", f"round of {month}"]
        canary = newest_files(PUBMED, CANARY_FILES)
        if not canary:
            raise AirflowFailException(f"no pubmed*.xml.gz lies under {PUBMED}, for the canary")
        words += ["--canary", ",".join(canary)]
        done = subprocess.run(words, check=False)
        if done.returncode == REFUSED:
            raise AirflowFailException("the gate refused the checkpoint; see the line above")
        done.check_returncode()

    retrain()


pubner_retrain()
