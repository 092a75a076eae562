"""Starting the processes of a run: here, or with Ray on the machines of a cluster.

The work itself does not know who started it. With "local" it runs in this process, and Lightning Fabric or torchrun
start the others; with "ray" each worker finds the rank variables that torchrun would have set.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from opensam import distributed
from opensam.distributed import Place
from opensam.files import PREFIX

BACKENDS = ("local", "ray")
Report = Callable[[Any], None]
Value = TypeVar("Value")

PATIENCE = 120.0
"""Seconds that a run waits for machines which are busy."""
POLL = 0.2
"""Seconds between two looks at what the workers do."""


def run(
    backend: str, devices: int, nodes: int, function: Callable[[Report], Value], report: Report, folder: Path
) -> Value:
    """Call a function in every process of a run.

    Args:
        backend: "local" calls it here. "ray" calls it in `devices * nodes` workers of the cluster that RAY_ADDRESS
            names; without one, Ray is started on this machine for the run.
        devices: workers per machine, each with a GPU of its own where the cluster has any.
        nodes: machines.
        function: gets a function that takes reports, which the first process is to call. For "ray" it must survive
            cloudpickle. In a worker, the working directory is the one of here.
        report: called here with each report.
        folder: where the run writes; it is made. With "ray" all workers must see the same one.

    Returns:
        What the function returns in the first process.

    Raises:
        ValueError: another backend, too small a cluster, a folder that workers cannot share; and all that `function`
            raises in a worker, which ends the others.
        ChildProcessError: a worker or its machine died.
    """
    if backend not in BACKENDS:
        raise ValueError(f"expected a backend, one of {', '.join(BACKENDS)}, got {backend}")
    if backend == "local":
        return function(report)
    folder.mkdir(parents=True, exist_ok=True)
    with cluster(devices, nodes), _workers(devices, nodes) as workers:
        _share(workers, folder)
        return _run_in(workers, function, report)


@dataclass(frozen=True)
class _Worker:
    """An actor of Ray, and the machine and the GPUs that it was given."""

    actor: Any
    machine: str
    address: str
    gpus: tuple[str, ...]


@contextmanager
def cluster(devices: int, nodes: int) -> Iterator[None]:
    """A connection to Ray, unless this process has one."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray gives its workers the priority 15: beside other work on the machine they would stand still.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        if nodes > 1:
            raise ValueError(
                f"expected RAY_ADDRESS to name a Ray cluster of {nodes} machines, got none; run `ray start --head` on "
                "one of them, `ray start --address=HEAD:6379` on the others, and set RAY_ADDRESS=HEAD:6379"
            )
        # Ray's own search could find what another run on this machine has started for itself, and ends with it.
        ray.init(address="local", num_cpus=max(devices, os.cpu_count() or 1), include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError:
            raise ValueError(
                f"expected a Ray cluster at RAY_ADDRESS={address}, got no answer; check it with `ray status`"
            ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _workers(devices: int, nodes: int) -> Iterator[list[_Worker]]:
    """Workers in the order of their ranks, `devices` on each of `nodes` machines; they end with the block."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    kind = "GPU" if ray.cluster_resources().get("GPU", 0) else "CPU"
    able = sum(node["Alive"] and node["Resources"].get(kind, 0) >= devices for node in ray.nodes())
    if able < nodes:
        raise ValueError(
            f"expected a Ray cluster of {nodes} machines with {devices} {kind}s each, got {able} such machines; "
            "give other --devices and --nodes, or add machines with `ray start --address=HEAD:6379`"
        )
    needs = {"CPU": 1, "GPU": 1} if kind == "GPU" else {"CPU": 1}
    # A bundle lies on one machine, so this puts `devices` workers on each of them.
    bundles = [{name: devices * amount for name, amount in needs.items()}] * nodes
    group = placement_group(bundles, strategy="STRICT_SPREAD")
    actors: list[Any] = []
    try:
        if not group.wait(PATIENCE):
            raise ValueError(
                f"expected {nodes} machines with {bundles[0]} free each, got a Ray cluster that was busy for "
                f"{PATIENCE:.0f} s; `ray status` shows with what"
            )
        options = {"num_cpus": 1, "num_gpus": needs.get("GPU", 0), "max_restarts": 0}
        for rank in range(devices * nodes):
            bundle = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank // devices)
            actors.append(ray.remote(Process).options(**options, scheduling_strategy=bundle).remote())
        facts = _answers([actor.where.remote() for actor in actors])
        yield [_Worker(actor, *fact) for actor, fact in zip(actors, facts, strict=True)]
    finally:
        for actor in actors:
            ray.kill(actor)
        remove_placement_group(group)


def _answers(references: list[Any], look: Callable[[], None] = lambda: None) -> list[Any]:
    """What workers answer; the first error of one is raised at once, as it was in the worker."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    waiting = references
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=POLL)
            ray.get(done)
            look()
        return ray.get(references)
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        reason = str(error).splitlines()[0]
        raise ChildProcessError(
            f"expected all workers to live until the end, but one died ({reason}); "
            "look at its machine (memory?) and repeat the command"
        ) from None


def _share(workers: list[_Worker], folder: Path) -> None:
    """Find out whether all workers see what is written here to the folder, and can write there."""
    mark = folder.absolute() / f"{PREFIX}{uuid4().hex}.tmp"
    mark.touch()
    try:
        _answers([worker.actor.enter.remote(Path.cwd(), mark) for worker in workers])
    finally:
        mark.unlink(missing_ok=True)


def _run_in(workers: list[_Worker], function: Callable[[Report], Value], report: Report) -> Value:
    from ray.util.queue import Queue

    news = Queue(actor_options={"num_cpus": 0})

    def look() -> None:
        for one in news.get_nowait_batch(news.qsize()):
            report(one)

    try:
        (port,) = _answers([workers[0].actor.free_port.remote()])
        calls = []
        for worker, place in zip(workers, _places(workers, port), strict=True):
            seen = [gpu for other in workers if other.machine == worker.machine for gpu in other.gpus]
            calls.append(worker.actor.run.remote(place, seen, function, news))
        return _answers(calls, look)[0]
    finally:
        news.shutdown(force=True)


def _places(workers: list[_Worker], port: int) -> list[Place]:
    """The place of each worker; those of one machine stand side by side."""
    machines = list(dict.fromkeys(worker.machine for worker in workers))
    return [
        Place(
            rank=rank,
            local_rank=sum(other.machine == worker.machine for other in workers[:rank]),
            node_rank=machines.index(worker.machine),
            world_size=len(workers),
            local_world_size=sum(other.machine == worker.machine for other in workers),
            address=workers[0].address,
            port=port,
        )
        for rank, worker in enumerate(workers)
    ]


class Process:
    """What runs in a worker."""

    def where(self) -> tuple[str, str, tuple[str, ...]]:
        """The machine, its address, and the GPUs given to this worker."""
        import ray

        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), tuple(gpus)

    def free_port(self) -> int:
        """A port of this machine that nobody listens on."""
        with socket.socket() as free:
            free.bind(("", 0))
            return int(free.getsockname()[1])

    def enter(self, home: Path, mark: Path) -> None:
        """Go to the working directory of the command, and try the folder of the run."""
        name = socket.gethostname()
        try:
            os.chdir(home)
        except OSError:
            raise ValueError(
                f"expected the folder {home} on every machine, got none on {name}; "
                "start the command in a folder that all machines see"
            ) from None
        own = mark.with_name(f"{PREFIX}{uuid4().hex}.tmp")
        try:
            seen = mark.exists()
            own.touch()
            own.unlink()
        except OSError as error:
            raise ValueError(
                f"expected to write to {mark.parent} on every machine, got on {name}: {error.strerror}; "
                "choose an --out on storage that all machines see and may write to"
            ) from None
        if not seen:
            raise ValueError(
                f"expected {mark.parent} to be the same folder on every machine, got another one on {name}; "
                "choose an --out on storage that all machines share"
            )

    def run(self, place: Place, gpus: list[str], function: Callable[[Report], Value], news: Any) -> Value | None:
        """The function, as one of many; only the first process answers."""
        if gpus:  # torch chooses among those of the machine by the local rank
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        distributed.take_place(place)
        value = function(news.put)
        return value if place.rank == 0 else None
