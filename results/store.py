"""Records of trainings: a file an experiment, in it a line a training."""
import fcntl
import json
from pathlib import Path

Records = dict[str, dict[int, dict]]


def read(file: Path) -> Records:
    """Records of each detector, by seed; none where there is no file."""
    records: Records = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        record = json.loads(line)
        records.setdefault(record['detector'], {})[record['seed']] = record
    return records


def add(file: Path, record: dict) -> None:
    """Add a record, or put it in place of the one of the same training.

    The file is replaced as a whole, so one that is stopped here leaves no
    half a line, and a lock is held meanwhile, so trainings that end at once
    lose none of each other's, be they threads or processes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix('.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        records = read(file)
        records.setdefault(record['detector'], {})[record['seed']] = record
        part = file.with_suffix('.part')
        part.write_text(''.join(
            json.dumps(records[name][seed]) + '\n'
            for name in sorted(records) for seed in sorted(records[name])))
        part.replace(file)
