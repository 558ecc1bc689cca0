"""What distillation adds to what several processes send in a step."""
import pytest
from communication import bytes_of_a_step
from families import quick_cases
from helpers import KINDS, build, distiller_cfg, plain_cfg, wide_teacher

pytestmark = pytest.mark.torch_only

FLOAT = 4  # bytes


def added(ranks, kind, cfg):  # noqa: F811
    """Bytes of gradients and of others that a step has more of."""
    alone, distilled = (ranks(bytes_of_a_step, c)
                        for c in (plain_cfg(kind), cfg))
    for first, second in (alone, distilled):
        assert first == second and first['gradients']
    return tuple(distilled[0][key] - alone[0][key]
                 for key in ('gradients', 'others'))


@pytest.mark.parametrize('kind', quick_cases(['fcos'], KINDS))
def test_distillation_adds_three_numbers_at_most(ranks, kind):  # noqa: F811
    """Of normalisers, and whether a process has a loss to refuse."""
    gradients, others = added(ranks, kind, distiller_cfg(kind))
    assert gradients == 0
    assert 0 <= others <= 3 * FLOAT


def test_channel_adapters_add_their_gradients_alone(ranks):  # noqa: F811
    cfg = wide_teacher(distiller_cfg('gfl'))
    adapters = sum(p.numel() for p in build(cfg).pair.adapters.parameters())
    gradients, others = added(ranks, 'gfl', cfg)
    assert adapters and gradients == adapters * FLOAT
    assert 0 <= others <= 3 * FLOAT


def test_what_is_sent_does_not_grow_with_the_images(ranks):  # noqa: F811
    small, large = (ranks(bytes_of_a_step, distiller_cfg('gfl'), size)
                    for size in ((64, 64), (96, 128)))
    assert small == large
