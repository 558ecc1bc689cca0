"""A student under ``torch.compile``."""
import pytest
import torch
from helpers import batch, build, distiller_cfg, total

SIZES = [(64, 96), (96, 64)]


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < '2.4',
                    reason='torch 2.1 compiles a backbone and no more')
def test_no_step_compiles_anew_what_was_compiled_for_its_size():
    """As mmengine's ``compile`` does it; all of it but code generation."""
    torch._dynamo.reset()
    graphs = []

    def count(module, inputs):
        graphs.append(module)
        return module.forward

    model, plain = (build(distiller_cfg('gfl')).train() for _ in range(2))
    compiled = torch.compile(model.forward, backend=count)
    seen = []
    for size in [*SIZES, *SIZES[::-1]]:
        losses = compiled(*batch(size=size), mode='loss')
        model.parse_losses(losses)[0].backward()
        seen.append(len(graphs))
        assert total(losses) == pytest.approx(
            total(plain(*batch(size=size), mode='loss')), rel=1e-4)
    assert 0 < seen[0] < seen[len(SIZES) - 1]
    assert set(seen[len(SIZES) - 1:]) == {seen[-1]}
