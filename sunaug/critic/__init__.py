"""The critic: what a network that has only seen real frames says of a frame.

It says two things. Which fluxes it reads off the frame: a forecaster would be trained on the frame with such a label,
so a sample that does not look like its label is of no use. And how far the frame lies from all real ones in the
features that it reads with, in units of the distance that only 1 % of real frames exceed which it has not seen.

Three networks share the work. Each is trained on two thirds of the train months, in blocks of ten days, so that for
every real frame there is one that has not seen it nor its neighbours: what a real frame reads like is known without
asking a network that has learned it by heart.
"""

from sunaug.critic.fit import fit_critic
from sunaug.critic.readings import Critic, Reading

__all__ = ["Critic", "Reading", "fit_critic"]
