"""Fidelity: is a synthetic cube good enough that anyone should train on it?

`frechet` measures how far the frames are from real ones in a feature network, `physics` what a solar physicist would
measure, `evaluate` sets both beside what real frames of other months give: the floor, below which no difference counts.
"""
