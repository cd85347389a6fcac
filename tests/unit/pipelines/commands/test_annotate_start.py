"""What `annotate` and `reannotate` do before anything that takes seconds to import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.root import ROOT

_RUN = """
import sys
from pubner import cli

code = cli.main(sys.argv[1:])
print(sorted({"apache_beam", "torch"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.parametrize("words", [["annotate"], ["reannotate", "out", "--where", "true"]])
def test_a_registry_without_an_active_checkpoint_is_told_at_once(
    words: list[str], tmp_path: Path
) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pubner.json").write_text("{}")
    root = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words, "--registry", "registry"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "has no active checkpoint" in done.stderr
    assert done.stdout == "[]\n"
