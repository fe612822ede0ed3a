"""How a query of more samples than a batch holds is cut."""

from collections.abc import Iterator


def parts(count: int, most: int, workers: int, batches: int) -> Iterator[tuple[int, int]]:
    """Yields start and end of the parts of a query of `count` samples, the larger before the smaller.

    A part is one batch or up to `batches` of them. Batches are full, `most` samples, but for the last of each worker,
    which share what is left equally: one last batch that is smaller than the others would leave workers idle at the
    end, and equal batches throughout are not those that the serving was chosen for (torch needs 4 % more for each of 63
    samples than for each of 64). So that workers end together, a part is also no more than half of a worker's share of
    what is left (guided self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Computers C-36, 1987).
    """
    bounds = list(_batches(count, most, workers))
    begin = 0
    while begin < len(bounds):
        end = begin + max(1, min(batches, (len(bounds) - begin) // (2 * workers)))
        yield bounds[begin][0], bounds[end - 1][1]
        begin = end


def batch_sizes(count: int, most: int, workers: int) -> set[int]:
    """Returns of how many samples the batches of such a query are."""
    return {end - start for start, end in _batches(count, most, workers)}


def _batches(count: int, most: int, workers: int) -> Iterator[tuple[int, int]]:
    """Yields start and end of each batch: full ones, as many for each worker, then a smaller one for each."""
    rounds = -(-count // (most * workers))
    full = (rounds - 1) * workers
    for number in range(full):
        yield number * most, (number + 1) * most
    left = count - full * most
    size, larger = divmod(left, min(left, workers))
    start = full * most
    for number in range(min(left, workers)):
        end = start + size + (number < larger)
        yield start, end
        start = end
