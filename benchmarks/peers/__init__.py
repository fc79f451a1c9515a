"""Other people's training code, driven from outside, as something to measure against.

None of it is part of this repository: each module imports a clone that lies at ``$SUNAUG_PEERS`` (by default
``/tmp/peers``) and says how to get it where there is none.
"""
