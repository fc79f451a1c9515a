"""What changes over a training, as functions of its progress: the share of the images that have been shown."""

from __future__ import annotations

from sunaug.training.recipe import Recipe

__all__ = ["penalty_weight", "ramp", "rate_factor"]


def ramp(progress: float, start: float, end: float) -> float:
    """0 before `start`, 1 after `end`, a straight line between."""
    return min(max((progress - start) / max(end - start, 1e-9), 0.0), 1.0)


def rate_factor(progress: float, decay: float) -> float:
    """Factor of the learning rates: 1, then linearly down to 0.1 over the last share `decay` of the training."""
    return 1 - 0.9 * ramp(progress, 1 - decay, 1) if decay else 1.0


def penalty_weight(progress: float, recipe: Recipe) -> float:
    """Gamma of the gradient penalty: from its start to its end by equal factors."""
    if recipe.r1_gamma == 0 or recipe.r1_gamma_end == 0:
        return recipe.r1_gamma if progress < recipe.r1_decay[1] else recipe.r1_gamma_end
    share = ramp(progress, *recipe.r1_decay)
    return recipe.r1_gamma ** (1 - share) * recipe.r1_gamma_end**share
