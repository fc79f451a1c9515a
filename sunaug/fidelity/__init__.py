"""Fidelity: is a synthetic cube good enough that anyone should train on it?

`images` turns frames into what feature networks (`backbones`, `inception`) see. `frechet`, `kernel` and `coverage`
compare two sets of their features, `distribution` does all of it at once. `physics` measures what a solar physicist
would. `evaluate` sets everything beside what real frames of other months give: the floor, below which no difference
counts; `judge` does so with a few hundred images while a generator is trained.
"""
