"""Two processes that train together, over gloo."""
import traceback
from datetime import timedelta

import crosskd  # noqa: F401  # first: it may stand in for mmcv._ext

# isort: split
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet.utils import register_all_modules
from mmengine.model import MMDistributedDataParallel

SIZE = (64, 64)


class Ranks:
    """Two processes that are started once and given one job after another."""

    def __init__(self, folder):
        context = mp.get_context('spawn')
        self.results = context.Queue()
        self.jobs = [context.Queue() for _ in range(2)]
        self.processes = [
            context.Process(
                target=serve, args=(rank, folder, jobs, self.results),
                daemon=True) for rank, jobs in enumerate(self.jobs)
        ]
        for process in self.processes:
            process.start()

    def __call__(self, job, *args):
        """What the job returns on rank 0 and on rank 1."""
        for jobs in self.jobs:
            jobs.put((job, args))
        results = sorted((self.results.get(timeout=240) for _ in self.jobs),
                         key=lambda result: result[0])
        for rank, _, error in results:
            assert error is None, f'rank {rank}: {error}'
        return [result for _, result, _ in results]

    def stop(self):
        for jobs in self.jobs:
            jobs.put(None)
        for process in self.processes:
            process.join(30)


def serve(rank, folder, jobs, results):
    """Do jobs until there is none."""
    register_all_modules()  # as conftest does
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank,
        world_size=2, timeout=timedelta(seconds=60))
    while (task := jobs.get()) is not None:
        job, args = task
        try:
            results.put((rank, job(rank, *args), None))
        except Exception:
            results.put((rank, None, traceback.format_exc()))


def wrapped(model):
    """As mmengine's Runner wraps it."""
    return MMDistributedDataParallel(
        model, device_ids=None, broadcast_buffers=False,
        find_unused_parameters=False)
