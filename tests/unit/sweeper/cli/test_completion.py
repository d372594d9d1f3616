"""Completion in a real shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sweeper.cli import VERBS, main
from sweeper.cli.completion import SHELLS


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    asked = f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_sweeper; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_verbs_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "sweeper.sh"
    script.write_text(capsys.readouterr().out)
    assert set(VERBS) <= set(completed(script, "sweeper", ""))
    assert completed(script, "sweeper", "emb") == ["embed"]
    assert set(completed(script, "sweeper", "embed", "--s")) == {"--seed", "--strength"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_that_is_named_has_one(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "embed" in capsys.readouterr().out
