"""Checkpoints, read as a teacher's are."""
from crosskd.checkpoints.loading import load_checkpoint


def load(path, trusted=False):
    return load_checkpoint(str(path), 'teacher_ckpt',
                           'set trust_teacher_ckpt=True', trusted)
