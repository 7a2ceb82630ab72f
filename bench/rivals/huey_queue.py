"""huey over SQLite with fsync: a producer and a consumer.

    python bench/rivals/huey_queue.py produce DATABASE_FILE COUNT
    python bench/rivals/huey_queue.py consume DATABASE_FILE COUNT WORKERS DONE_FILE

The consumer is huey's own, with threads; when COUNT tasks are complete it makes the DONE_FILE. No result is stored.
"""

import itertools
import sys
from pathlib import Path

from huey import SqliteHuey
from huey.signals import SIGNAL_COMPLETE

_, ROLE, DATABASE, COUNT, *REST = sys.argv
huey = SqliteHuey("bench", filename=DATABASE, fsync=True, results=False, timeout=60)


@huey.task()
def noop() -> None:
    """Nothing."""


def produce() -> None:
    Path(f"{DATABASE}-producing").touch()  # From here on it is measured: importing is nobody's work.
    for _ in range(int(COUNT)):
        noop()


def consume(workers: int, done: Path) -> None:
    complete = itertools.count(1)
    last = int(COUNT)

    @huey.signal(SIGNAL_COMPLETE)
    def _count(_signal: str, _task: object) -> None:
        if next(complete) == last:
            done.touch()

    consumer = huey.create_consumer(workers=workers, periodic=False, max_delay=0.1)
    done.with_suffix(".ready").touch()
    consumer.run()


if __name__ == "__main__":
    if ROLE == "produce":
        produce()
    else:
        consume(int(REST[0]), Path(REST[1]))
