"""Fidelity: is a synthetic cube good enough that anyone should train on it?

*What is measured*: `images` turns frames into what feature networks (`backbones`, `inception`) see, `physics` measures
what a solar physicist would, `instruments` does all of it frame by frame and keeps the rows (`cache`, `measured`).

*What it is compared with*: `reference`, real frames; `fitting` makes it from an observed cube, `stored` keeps it with a
bundle. `frechet`, `kernel`, `coverage` (all at once: `distribution`), `memorisation` and `claims` are the figures
of two sets, `comparison` is all of them.

*What comes of it*: `gate` sets limits by real months and gives the verdict, `gating` applies it to cubes, `verdict` is
what readers of a cube see of it; `evaluate` sets everything beside its floor, `report` makes a page of it. `judge` is
something else: a few hundred images while a generator is trained.
"""
