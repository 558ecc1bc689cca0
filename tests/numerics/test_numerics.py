"""What is kept, what is same_function, and numbers of one rank."""
from functools import partial

import pytest
import torch

from crosskd.numerics.last_few import LastFew
from crosskd.numerics.ranks import mean_over_ranks
from crosskd.numerics.same_function import same_function

pytestmark = pytest.mark.torch_only


def test_what_was_asked_for_last_is_kept():
    made, kept = [], LastFew(2)

    def make(key):
        made.append(key)
        return key

    for key in 'aabacba':  # b goes where c comes, a where b comes again
        assert kept.get(key, partial(make, key)) == key
    assert ''.join(made) == 'abcba'


def random(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize('mean', [0, 1e3, -1e3])
def test_maps_are_alike_up_to_the_rounding_of_float32(mean):
    x = mean + random(2, 3, 8, 8)
    assert same_function(x, x.float()) and same_function(x.float(), x)
    assert not same_function(x, x + (1e-5 + abs(mean) * 1e-6) * random(
        2, 3, 8, 8, seed=1))
    assert not same_function(x, x * 1.01)
    assert not same_function(x, x * torch.nan)


def test_maps_of_nothing_are_alike():
    assert same_function(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
    assert not same_function(torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4))


@pytest.mark.parametrize('count, mean', [(3, 5.5), (7.5, 7.5)])
def test_a_number_of_one_rank_stays_on_the_host(count, mean):
    found = mean_over_ranks(count, torch.device('cpu'), at_least=5.5)
    assert isinstance(found, float) and found == mean
