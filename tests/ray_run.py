"""Workers of Ray that go wrong, to be started as a program: `python -m tests.ray_run FOLDER`.

It prints what `launch.run` raised, then starts workers that never end and prints their process ids.
"""

import os
import sys
import time
from pathlib import Path

from opensam import launch


def fail(report: launch.Report) -> None:
    if os.environ["RANK"] == "1":
        raise FileNotFoundError(2, "No such file or directory", "missing.jpg")
    time.sleep(1000)


def die(report: launch.Report) -> None:
    if os.environ["RANK"] == "1":
        os._exit(9)
    time.sleep(1000)


def never_end(report: launch.Report) -> None:
    report(f"told running {os.getpid()} {os.getppid()}")
    time.sleep(1000)


def main() -> None:
    import ray

    folder = Path(sys.argv[1])
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # as launch.run does
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    for devices, nodes, function in ((2, 1, fail), (2, 1, die), (3, 1, fail), (1, 2, fail)):
        try:
            launch.run("ray", devices, nodes, function, print, folder)
        except (ValueError, OSError) as error:
            print(f"told {type(error).__name__}: {error}", flush=True)
    launch.run("ray", 1, 1, never_end, lambda line: print(line, flush=True), folder)


if __name__ == "__main__":
    main()
