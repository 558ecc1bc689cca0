"""README and docs as a test reads them: their fenced blocks.

A comment before a block says what becomes of it:

- ``<!-- needs: … -->`` what no test has (COCO, GPUs, hours, the network): what
  can be checked without is checked, and nothing is run.
- ``<!-- run by: .ci/run -->`` the same lines stand there.
- ``<!-- part of: model.kd_cfg -->`` a part of a config, and its key.
- ``<!-- file: my_distillation/heads.py -->`` a file of an example package,
  which ``test_extending.py`` writes and trains with.

All other blocks are run as they are written.
"""
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]
PAGES = [REPO / 'README.md', *sorted((REPO / 'docs').rglob('*.md')),
         *sorted((REPO / 'configs').rglob('*.md')),
         *sorted(p for p in REPO.glob('*.md') if p.name != 'README.md')]
BLOCK = re.compile(
    r'(?:<!-- (needs|run by|part of|file): (.*?) -->\n+)?```(\w+)\n(.*?)\n```',
    re.S)


@dataclass
class Block:
    """A fenced block.

    Attributes:
        page: file, from the repository.
        kind: ``'needs'``, ``'run by'``, ``'part of'``, ``'file'``, or ``''``.
        value: what the comment says after it.
        language: ``'bash'``, ``'python'`` or another.
        text: what is in it.
    """
    page: str
    kind: str
    value: str
    language: str
    text: str

    def __str__(self) -> str:
        return f'{self.page}: {self.text.splitlines()[0][:40]}'

    @property
    def commands(self) -> list[str]:
        """One command a line, without comments."""
        lines = self.text.replace('\\\n', ' ').splitlines()
        bare = (re.sub(r' +#.*', '', line).strip() for line in lines)
        return [line for line in bare if line and not line.startswith('#')]

    @staticmethod
    def words(command: str) -> list[str]:
        return shlex.split(command)


def blocks(language: str) -> list[Block]:
    """All blocks of a language, in all pages."""
    return [
        block for page in PAGES for block in (
            Block(page.relative_to(REPO).as_posix(), *found)
            for found in BLOCK.findall(page.read_text()))
        if block.language == language
    ]
