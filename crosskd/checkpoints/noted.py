"""The last checkpoint of a training, as mmengine has noted it."""
import os
from pathlib import Path

NOTE = 'last_checkpoint'


def noted_checkpoint(work_dir: Path) -> Path | None:
    """The path that mmengine's note in a work directory names.

    The file need not be there: work directories are moved and copied, and it
    may lie beside the note.

    Returns:
        Path | None: None if there is no note.
    """
    note = work_dir / NOTE
    if not note.is_file():
        return None
    return Path(os.fsdecode(note.read_bytes()).strip())
