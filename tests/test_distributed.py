"""Two gloo ranks against one process on both batches."""
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from crosskd.losses import SDDLoss


def batch():
    rng = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 5, 4, 8, 8, generator=rng, dtype=torch.float64)
    labels = torch.randint(4, (5, ), generator=rng)
    weight = torch.rand(5, 8, 8, generator=rng, dtype=torch.float64)
    return s.requires_grad_(), t, labels, weight


def one_rank(rank, folder, cut):
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/rendezvous', rank=rank,
        world_size=2)
    s, *rest = batch()
    part = slice(0, cut) if rank == 0 else slice(cut, 5)
    SDDLoss()(s[part], *(x[part] for x in rest)).backward()
    dist.all_reduce(s.grad)
    torch.save(s.grad / 2, f'{folder}/rank_{rank}.pth')


@pytest.mark.parametrize('cut', [2, 5])  # with 5 one rank sees nothing
def test_mean_of_two_ranks_gradients_is_that_of_one_process(tmp_path, cut):
    mp.spawn(one_rank, (str(tmp_path), cut), nprocs=2)
    s, *rest = batch()
    SDDLoss()(s, *rest).backward()
    assert s.grad.abs().max() > 0
    torch.testing.assert_close(torch.load(tmp_path / 'rank_0.pth'), s.grad)
