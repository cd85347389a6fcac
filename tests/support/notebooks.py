"""Notebooks: their code cells run in order, and what each one shows."""

import ast
import json
from pathlib import Path
from typing import Any


def run_cells(path: Path) -> list[Any]:
    """Run the code cells of a notebook in one namespace; return the value that each one shows.

    That is the value of its last line where that is an expression, else None.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]), filename=path.name)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, path.name, "exec"), namespace)
        if isinstance(last, ast.Expr):
            expression = ast.Expression(last.value)
            shown.append(eval(compile(expression, path.name, "eval"), namespace))
        else:
            shown.append(None)
    return shown
