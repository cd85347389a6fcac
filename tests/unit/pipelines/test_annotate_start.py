"""What `annotate` and `reannotate` do before anything that takes seconds to import."""

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys
import pubner

code = pubner.main(sys.argv[1:])
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
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words, "--registry", str(tmp_path / "registry")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "has no active checkpoint" in done.stderr
    assert done.stdout == "[]\n"
