"""What a tool printed and wrote: errors, figures, files."""
import re


def errors(out):
    """Last lines of tracebacks, and errors without one."""
    return re.findall(r'^(?:\w+\.)*\w*Error: .*', out, re.M)


def metrics(out):
    """The line of COCO figures; there is one."""
    found = re.search(r'bbox_mAP_copypaste: (.*)', out)
    assert found, out[-2000:]
    return found[1]


def written(work_dir):
    """What lies in a work directory besides the log."""
    return [p for p in work_dir.rglob('*') if p.is_file()
            and p.suffix != '.log']
