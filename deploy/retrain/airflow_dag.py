"""An Airflow DAG that retrains once a month; put it into the folder of DAGs and change the paths.

The task may be retried at any time: `pubner retrain` goes on where it was broken off. A checkpoint
that the gate refuses fails the task for good, with the gate's line in the log.
"""

import subprocess
from datetime import timedelta

import pendulum
from airflow.decorators import dag, task
from airflow.exceptions import AirflowFailException

PUBNER = "/opt/pubner/.venv/bin/pubner"
REGISTRY = "s3://pubner/registry"
ROUNDS = "/srv/pubner/rounds"
CANARY = "/srv/pubmed/updatefiles/pubmed26n14*.xml.gz"
REFUSED = 3


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
        words += ["--canary", CANARY, "--promote", "--why", f"round of {month}"]
        done = subprocess.run(words, check=False)
        if done.returncode == REFUSED:
            raise AirflowFailException("the gate refused the checkpoint; see the line above")
        done.check_returncode()

    retrain()


pubner_retrain()
