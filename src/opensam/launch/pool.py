"""Workers that do one task after the other, here or on a Ray cluster, and of which some may die.

Plain actors, not Ray Data: a task is small (the name of a picture), its result lies on disk, and who takes which task
does not matter. So nothing has to flow through a cluster but names.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from opensam.files import PREFIX
from opensam.launch import BACKENDS, PATIENCE, POLL, Process, cluster

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Start = Callable[[], Callable[[Task], Answer]]
"""Makes a worker ready (loads a model, say) and returns what it does with a task."""

GRACE = 5.0
"""Seconds that a process has to tidy up when it is told to end."""


class WorkerDiedError(Exception):
    """A worker died over a task; the message says how."""


@contextmanager
def answers(
    backend: str, workers: int | None, start: Start[Task, Answer], tasks: Iterable[Task], folder: Path, device: str
) -> Iterator[Iterator[tuple[Task, Answer | WorkerDiedError]]]:
    """What workers make of tasks, in the order in which they are done; the workers end with the block.

    Args:
        backend: "local": processes of this machine; "ray": actors on the cluster that RAY_ADDRESS names, or on a
            Ray that is started on this machine.
        workers: how many. One local worker is this process. None: one here; with "ray" one per GPU of the
            cluster if the device is a GPU, else one per core. Local processes share the cores of the machine (unless
            OMP_NUM_THREADS says how many each takes) and, of the device "cuda", its GPUs; a worker of Ray has one core.
        start: called once in every worker; it must survive pickling.
        tasks: taken one by one when a worker is free.
        folder: a folder that exists and that all workers must see and may write to.
        device: what torch calls it.

    Yields:
        Each task with its answer. A task whose worker died is given once more, to another worker, after all others;
        if that one dies as well, the answer is `WorkerDiedError`.

    Raises:
        ValueError: another backend, too small a cluster, a folder that workers do not share.
        ChildProcessError: no worker became ready.
        Exception: whatever `start` or its function raises in a worker; it ends all of them.
    """
    if backend not in BACKENDS:
        raise ValueError(f"expected a backend, one of {', '.join(BACKENDS)}, got {backend}")
    if backend == "ray":
        with cluster(workers or 1, 1), _mark(folder) as mark:
            crew: _Crew = _Actors(start, device, mark, workers)
            with closing(_conduct(crew, tasks)) as done:
                yield done
    elif workers is None or workers == 1:
        work = start()
        yield ((task, work(task)) for task in tasks)
    else:
        with closing(_conduct(_Processes(start, device, workers), tasks)) as done:
            yield done


class _Hand(Protocol):
    """A worker. What it does first is to get ready."""

    def give(self, task: Any) -> None:
        """Let it begin with a task."""

    def take(self) -> Any:
        """Its answer, once `_Crew.wait` has named it. Raises WorkerDiedError if it died."""

    def end(self) -> None:
        """Ask it to stop, and do not wait."""

    def bury(self) -> None:
        """Wait until it has stopped."""


class _Crew(Protocol):
    """Where workers come from."""

    count: int

    def hire(self) -> _Hand:
        """Start one."""

    def wait(self, hands: list[Any]) -> list[Any]:
        """Some of them that have an answer or died; may be none, so that Ctrl-C is heard."""


def _conduct(crew: _Crew, tasks: Iterable[Task]) -> Generator[tuple[Task, Any | WorkerDiedError], None, None]:
    first, again = iter(tasks), deque[Task]()
    starting: list[_Hand] = []
    idle: list[_Hand] = []
    busy: dict[_Hand, tuple[Task, bool]] = {}  # with its task, and whether that was given before
    gone = "none was started"
    try:
        starting += [crew.hire() for _ in range(crew.count)]
        while True:
            while idle and (given := _next(first, again)):
                busy[hand := idle.pop()] = given
                hand.give(given[0])
            if idle and not busy:
                return
            if not starting and not busy:
                raise ChildProcessError(
                    f"expected at least one worker to get ready, got none ({gone}); "
                    "give fewer --workers: each holds a model of its own in memory"
                )
            for hand in crew.wait([*starting, *busy]):
                try:
                    answer = hand.take()
                except WorkerDiedError as loss:
                    gone = str(loss)
                    hand.bury()
                    if hand in starting:
                        starting.remove(hand)  # and none in its place: there is no room for so many
                        continue
                    task, before = busy.pop(hand)
                    starting.append(crew.hire())
                    if before:
                        yield task, loss
                    else:
                        again.append(task)
                    continue
                idle.append(hand)
                if hand in starting:
                    starting.remove(hand)
                else:
                    task, _ = busy.pop(hand)
                    yield task, answer
    finally:
        hands = [*starting, *idle, *busy]
        for hand in hands:
            hand.end()
        for hand in hands:
            hand.bury()


def _next(first: Iterator[Task], again: "deque[Task]") -> tuple[Task, bool] | None:
    for task in first:
        return task, False
    return (again.popleft(), True) if again else None


# ---- processes of this machine -----------------------------------------------------------------------------


class _Processes:
    def __init__(self, start: Callable[[], Any], device: str, count: int) -> None:
        # As plain bytes: torch would put the tensors of a model into shared memory, of which a container has little.
        self.start, self.count, self.hired = pickle.dumps(start), count, 0
        self.threads = os.environ.get("OMP_NUM_THREADS", str(max(1, _cores() // count)))
        self.gpus = _gpus() if device == "cuda" else []

    def hire(self) -> "_LocalHand":
        environment = {"OMP_NUM_THREADS": self.threads}
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self.gpus[self.hired % len(self.gpus)]
        self.hired += 1
        return _LocalHand(self.start, environment)

    def wait(self, hands: "list[_LocalHand]") -> "list[_LocalHand]":
        ready = connection.wait([hand.pipe for hand in hands])
        return [hand for hand in hands if hand.pipe in ready]


class _LocalHand:
    def __init__(self, start: bytes, environment: dict[str, str]) -> None:
        context = get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, start, environment), daemon=True)
        before = {name: os.environ.get(name) for name in environment}
        os.environ |= environment  # the new process may import torch before it comes to `_serve`
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        far.close()  # else its end would not be noticed

    def give(self, task: Any) -> None:
        with suppress(BrokenPipeError):  # it died; `take` will say so
            self.pipe.send(task)

    def take(self) -> Any:
        try:
            fine, value = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = "; the system does that when memory is short" if code == -signal.SIGKILL else ""
            raise WorkerDiedError(f"the worker {how}{hint}") from None
        if not fine:
            raise value
        return value

    def end(self) -> None:
        self.process.terminate()

    def bury(self) -> None:
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _serve(pipe: Any, start: bytes, environment: dict[str, str]) -> None:
    """What a process does until nobody is at the other end of its pipe, be it by `kill -9`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is heard by all; the first process decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that half-written files are deleted
    os.environ |= environment
    try:
        try:
            work = pickle.loads(start)()
            pipe.send((True, None))
            while True:
                pipe.send((True, work(pipe.recv())))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            pipe.send((False, _portable(error)))
    except BrokenPipeError:
        return


def _portable(error: Exception) -> Exception:
    """An error that another process can read, with the place where it was raised as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some errors can be written but not read
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs of this machine."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]


# ---- actors of Ray -----------------------------------------------------------------------------------------


class _Actors:
    def __init__(self, start: Callable[[], Any], device: str, mark: Path, count: int | None) -> None:
        import ray

        kind = "GPU" if device.startswith("cuda") else "CPU"
        able = int(ray.cluster_resources().get(kind, 0))
        self.count = able if count is None else count
        if not 0 < self.count <= able:
            raise ValueError(
                f"expected a Ray cluster with {max(1, self.count)} {kind}s for as many workers, got {able}; "
                "give fewer --workers, another --device, or add machines with `ray start --address=HEAD:6379`"
            )
        self.start, self.mark, self.gpus = start, mark, int(kind == "GPU")
        self.deadline: float | None = time.monotonic() + PATIENCE

    def hire(self) -> "_RayHand":
        return _RayHand(self.start, self.mark, self.gpus)

    def wait(self, hands: "list[_RayHand]") -> "list[_RayHand]":
        import ray

        ready, _ = ray.wait([hand.reference for hand in hands], timeout=POLL)
        if ready:
            self.deadline = None
        elif self.deadline and time.monotonic() > self.deadline:
            if not ray.wait([hand.alive for hand in hands], timeout=0)[0]:
                raise ValueError(
                    f"expected room for a worker, got a Ray cluster that was busy for {PATIENCE:.0f} s; "
                    "`ray status` shows with what"
                )
            self.deadline = None
        return [hand for hand in hands if hand.reference in ready]


class _RayHand:
    def __init__(self, start: Callable[[], Any], mark: Path, gpus: int) -> None:
        import ray

        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
        servant: Any = ray.remote(_Servant)
        self.actor = servant.options(**options).remote()
        self.alive = self.actor.where.remote()
        self.reference = self.actor.start.remote(Path.cwd(), mark, start)

    def give(self, task: Any) -> None:
        self.reference = self.actor.work.remote(task)

    def take(self) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray.get(self.reference)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            raise WorkerDiedError(f"the worker died: {str(error).splitlines()[0]}") from None

    def end(self) -> None:
        import ray

        ray.kill(self.actor)

    def bury(self) -> None:
        pass  # Ray does


class _Servant(Process):
    """What runs in an actor."""

    def start(self, home: Path, mark: Path, start: Callable[[], Any]) -> None:
        self.enter(home, mark)
        self.task = start()

    def work(self, task: Any) -> Any:
        return self.task(task)


@contextmanager
def _mark(folder: Path) -> Iterator[Path]:
    """A file by which workers know whether they see the same folder."""
    mark = folder.absolute() / f"{PREFIX}{uuid4().hex}.tmp"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)
