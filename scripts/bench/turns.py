"""What benchmarks beside another library share: its environment, and processes that take turns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def make_venv(folder: Path, pins: Sequence[str], shared: Sequence[str]) -> None:
    """An environment with the other library.

    Args:
        pins: What is installed.
        shared: Packages, torch among them, that it has in raglift's versions.
    """
    venv.create(folder, with_pip=True)
    pinned = (Path(__file__).parents[2] / "constraints.txt").read_text("utf-8").splitlines()
    lines = [line for line in pinned if re.match(rf"({'|'.join(shared)})==", line)]
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--retries", "1"]
    torch = next(line for line in lines if line.startswith("torch=="))
    subprocess.run([*pip, "--no-deps", "--extra-index-url", TORCH_INDEX, torch], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(lines) + "\n")
        constraints.flush()
        subprocess.run([*pip, "-c", constraints.name, *pins], check=True)


def take_turns(
    script: str, folder: Path, names: Sequence[str], other: Path | None, threads: int, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each training, by name: `script --worker NAME --folder FOLDER` says "ready", then trains for every
    line that it is sent and prints how long that took.

    Args:
        other: The environment of every worker but that called "raglift"; None: this one.
    """
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    processes = {}
    for name in names:
        python = sys.executable if other is None or name == "raglift" else str(other / "bin" / "python")
        command = [python, "-W", "ignore", script, "--worker", name, "--folder", str(folder)]
        processes[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        _line(processes[name], "ready")  # before the next begins: each has the machine to itself to warm up
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, process in processes.items():
            assert process.stdin is not None
            process.stdin.write("train\n")
            process.stdin.flush()
            seconds[name].append(float(_line(process)))
        print({name: round(times[-1], 2) for name, times in seconds.items()}, flush=True)
    for process in processes.values():
        process.communicate()
    return seconds


def _line(process: subprocess.Popen[str], wanted: str = "") -> str:
    """The next line that is `wanted`, or a number; libraries print too."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == wanted or (not wanted and re.fullmatch(r"[\d.]+", line.strip())):
            return line.strip()
    raise SystemExit("a worker ended before its time; its error is above")
