"""Grouping the test images that are worth a look."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .judging import Judged, disputed


@dataclass(frozen=True)
class PictureGroup:
    """Images that show the same.

    Attributes:
        title: what they show.
        number: number of such objects (or boxes) in all images.
        images: number of images with one or more.
        chosen: indices of the images to show, those with most of them first.
    """
    title: str
    number: int
    images: int
    chosen: list[int]


Every = Sequence[Judged]


def picture_groups(examples: Sequence[Every], names: Sequence[str],
                   pair: tuple[int, int] | None,
                   most: int) -> list[PictureGroup]:
    """Group images by what the detectors find.

    An image that fits several groups is in the one for which it has the most
    objects.  The last group has only images that fit no other.

    Args:
        examples: for each image, the detections of every detector.
        names: names of the detectors.
        pair: the indices of a detector and its baseline, if there is one.
        most: total number of images, taken from the groups in turn.
    """
    counters = _counters(names, pair)
    counts = [[count(every) for count in counters.values()]
              for every in examples]
    members: list[list[int]] = [[] for _ in counters]
    for place, row in enumerate(counts):
        *others, last = row
        if any(others):
            members[others.index(max(others))].append(place)
        elif last:
            members[-1].append(place)
    for at, places in enumerate(members):
        places.sort(key=lambda place: -counts[place][at])
    turns = sorted((turn, at) for at, places in enumerate(members)
                   for turn in range(len(places)))
    taken = [at for _, at in turns[:most]]
    return [PictureGroup(title, sum(row[at] for row in counts),
                         sum(row[at] > 0 for row in counts),
                         members[at][:taken.count(at)])
            for at, title in enumerate(counters)]


def _counters(names: Sequence[str], pair: tuple[int, int] | None,
              ) -> dict[str, Callable[[Every], int]]:
    """Titles of the groups, and functions that count an image's objects."""
    if len(names) == 1:
        return {'Missed objects': lambda every: every[0].missed,
                'Wrong boxes': lambda every: every[0].wrong}
    nobody = {'Objects found by no detector': lambda every: (
        every[0].num_objects - len(set().union(*(e.right for e in every))))}
    if pair is None:
        return {'Objects found by some detectors, missed by others':
                lambda every: len(disputed(every)), **nobody}
    one, other = pair
    return {
        f'Objects found by {names[other]}, missed by {names[one]}':
            lambda every: len(every[other].right - every[one].right),
        f'Objects found by {names[one]}, missed by {names[other]}':
            lambda every: len(every[one].right - every[other].right),
        **nobody}
