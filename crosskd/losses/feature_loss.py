"""The base class of losses that compare feature maps."""
from collections.abc import Sequence

from torch import nn

from ..arguments import check_number


class FeatureLoss(nn.Module):
    """Compares the feature maps of one level, for ``loss_feat_kd``.

    A subclass has a ``forward(pred, target)``, which is called for each level
    with the (N, C, H, W) maps of student and teacher, and returns a scalar.
    No gradient flows into the target.  If the loss has layers that train with
    the student, it makes them in :meth:`build_layers`.  If it needs more than
    the two maps, it lists the names of further arguments in ``takes``:

    - ``'level'``: the index of the level, among those that both detectors
      have;
    - ``'boxes'``: the ground-truth boxes, see
      :attr:`crosskd.pairs.PairedPass.boxes`;
    - ``'scores'``: (N, 1, H, W), the largest class score of the teacher at
      each location of the level.  The teacher then needs a dense head that
      crosskd knows.

    Args:
        loss_weight: >= 0.

    Raises:
        TypeError, ValueError: ``loss_weight`` is not a number or below 0.
    """

    compares = ('features', )
    takes: tuple[str, ...] = ()
    #: what the log calls the method
    method: str | None = None

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = check_number(
            type(self).__name__, 'loss_weight', loss_weight, 0)

    def build_layers(self, channels: Sequence[int]) -> None:
        """Build the layers that train with the student.

        It is called once, when training begins; by default there are none.

        Args:
            channels: of the teacher's features, for each level.
        """
