"""The page on which people explore the latent space of a bundle: the Sun is drawn anew as its sliders move.

`scenes` says what a picture is made from, `studio` makes and keeps frames, `drawing` turns them into PNG, `controls`
tells the page which sliders there are and what each of them changes, and `router` has the addresses.
"""

from sunaug.service.explorer.router import explorer_router

__all__ = ["explorer_router"]
