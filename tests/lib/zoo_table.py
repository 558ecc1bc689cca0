"""Which of mmdet's configs can be distilled, from real steps.

``python tests/lib/zoo_table.py`` writes ``docs/detectors.md``;
``tests/detectors/test_zoo.py`` takes the steps again and compares.  A run with
mmcv's compiled ops fills the columns of the two teachers, and a run without
them the last column; the other columns stay as they are.
"""
import re
from dataclasses import dataclass
from pathlib import Path

from mmdet.utils import register_all_modules
from zoo import WORKS, outcome
from zoo_rows import LIKE_IT, OTHERS, RETINA, ROWS, Row

from crosskd.compat.mmcv_ext import is_installed

PAGE = Path(__file__).parents[2] / 'docs' / 'detectors.md'
MMDETS = 'https://github.com/open-mmlab/mmdetection/blob/main/configs'
TEACHERS = (LIKE_IT, RETINA)
COLUMNS = ('folder', 'by a teacher like it', 'by RetinaNet',
           'without compiled ops')


@dataclass
class Cells:
    """What the page says of a config.

    Attributes:
        like_it, retina: outcomes by the two teachers, with compiled ops.
        without: ``'works'`` if the outcomes are the same without compiled
            ops, else the reason.
    """
    like_it: str = '?'
    retina: str = '?'
    without: str = '?'

    @property
    def work(self) -> bool:
        return all(said.startswith(WORKS)
                   for said in (self.like_it, self.retina))

    @property
    def here(self) -> tuple[str, str]:
        """The outcomes that are to be expected with the ops that are here."""
        if is_installed() and self.without != WORKS:
            return self.without, self.without
        return self.like_it, self.retina


def outcomes(row: Row) -> tuple[str, str]:
    """The outcomes of a config here, by the two teachers."""
    like_it, retina = (outcome(row, teacher) for teacher in TEACHERS)
    return like_it, retina


def fill(cells: Cells, found: tuple[str, str]) -> None:
    """Write outcomes into the columns that can be known here."""
    if not is_installed():
        cells.like_it, cells.retina = found
        return
    reasons = {said for said in found if not said.startswith(WORKS)}
    cells.without = ', '.join(reasons) or WORKS


PAGE_TEXT = '''# Detectors of MMDetection

crosskd can distil almost every detector of MMDetection by its features. The
table has one config, with a small backbone, of each folder of MMDetection's
configs; a link leads to the config.

**{works} of {all} configs work.** {without} of them also work without mmcv's
compiled ops.

*Works* means that one real training step ran with a small version of the
config (fewer channels, small images) and `PKDLoss`. All losses were finite,
and the distillation loss was above zero. The student's own losses, also those
of its masks, were exactly the plain detector's. One teacher has the same
config as the student and other weights, the other teacher is a RetinaNet.

*Works, at X* means that the detectors have no comparable features at their
default modules: you have to name X as `student` and `teacher` of a
`FeatureDistiller` (see [Config keys](configuration.md)). Any other cell gives
the reason why there is no step.

{table}

## Other folders

These folders have no detector that can be distilled here:

{others}

## How the table is made

`python tests/lib/zoo_table.py` takes the steps and writes this page. Run it
once with mmcv's compiled ops and once without. `tests/detectors/test_zoo.py`
takes the steps again and compares. Do not edit the page by hand. *Not
installed here* means that crosskd's tests do not install the package.
'''


def page(every: dict[str, Cells]) -> str:
    """The page, from the cells of each config."""
    working = [cells for cells in every.values() if cells.work]
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|',
             *(_line(ROWS[config], cells) for config, cells in every.items())]
    return PAGE_TEXT.format(
        works=len(working), all=len(every),
        without=sum(cells.without == WORKS for cells in working),
        table='\n'.join(lines),
        others='\n'.join(f'- {_listed(folders)}: {reason}'
                         for reason, folders in OTHERS.items()))


def _line(row: Row, cells: Cells) -> str:
    rows = [one for one in ROWS.values() if one.folder == row.folder]
    name = row.folder if len(rows) == 1 else re.split('[/_]', row.config)[1]
    return (f'| [{name}]({MMDETS}/{row.config}.py) | {cells.like_it} | '
            f'{cells.retina} | {cells.without} |')


def _listed(folders: tuple[str, ...]) -> str:
    return ', '.join(f'`{folder}`' for folder in folders)


def read_page() -> dict[str, Cells]:
    """The cells that the page has, by config; new rows have unknown ones."""
    rows = re.findall(
        rf'^\| \[.+?\]\({MMDETS}/(.+?)\.py\) \| (.+?) \| (.+?) \| (.+?) \|$',
        PAGE.read_text() if PAGE.exists() else '', re.M)
    written = {config: Cells(*cells) for config, *cells in rows}
    return {config: written.get(config, Cells()) for config in ROWS}


if __name__ == '__main__':
    register_all_modules()
    pages = read_page()
    for config, cells in pages.items():
        fill(cells, outcomes(ROWS[config]))
    PAGE.write_text(page(pages))
