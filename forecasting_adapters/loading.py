"""Batches made ahead of the training by threads of its own process.

PyTorch's worker processes hand each batch over through shared memory, which costs more than to read a large frame.
Frames of a cube are decompressed and scaled without Python's lock, so that threads do as well, and a batch stays where
it is.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import default_collate

from forecasting_adapters.samples import Sample
from sunaug.errors import UsageError

__all__ = ["ReadAhead", "collate_samples", "taken_ahead"]

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """A data loader whose batches are made by a thread while the training is busy with those before.

    Parameters
    ----------
    loader : iterable of batches
        `DataLoader(dataset, num_workers=0, ...)`; with `collate_samples` images are not copied once more.
    batches : int
        Number of batches that are ready or in the making at most.

    Examples
    --------
    >>> loader = ReadAhead(DataLoader(rare, batch_size=64, shuffle=True, collate_fn=collate_samples))
    >>> for batch in loader:
    ...     step(batch)
    """

    def __init__(self, loader: Iterable[Item], batches: int = 2) -> None:
        if batches < 1:
            raise UsageError(f"{batches} batches ahead: give one or more.")
        self.loader, self.batches = loader, batches

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Item]:
        return taken_ahead(self.loader, self.batches)


def collate_samples(samples: Sequence[Sample]) -> dict[str, Any]:
    """PyTorch's default collate; images that lie side by side in memory already are taken as they are."""
    images = [sample["image"] for sample in samples]
    whole = images[0]._base
    as_they_are = (
        whole is not None
        and whole.shape == (len(images), *images[0].shape)
        and whole.is_contiguous()
        and all(
            image._base is whole and image.data_ptr() == row.data_ptr()
            for image, row in zip(images, whole, strict=True)
        )
    )
    if not as_they_are:
        return dict(default_collate(list(samples)))
    rest = [{name: value for name, value in sample.items() if name != "image"} for sample in samples]
    return {"image": whole, **default_collate(rest)}


def taken_ahead(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """The same items, made by a thread, at most `ahead` of them before they are taken.

    What is raised while they are made is raised here. The thread ends when the iterator is closed.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(ahead)
    stopped = threading.Event()

    def hand_over(goes_on: bool, item: Any) -> None:
        while not stopped.is_set():
            try:
                return made.put((goes_on, item), timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                hand_over(True, item)
                if stopped.is_set():
                    return
            hand_over(False, None)
        except Exception as error:
            hand_over(False, error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            goes_on, item = made.get()
            if not goes_on:
                break
            yield item
        if item is not None:
            raise item
    finally:
        stopped.set()
        thread.join()
