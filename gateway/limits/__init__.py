"""How much in how long. Not why, not for whom.

The Python modules are oracles: the rules in a form one can read. The store runs `lua/limits.lua`, which
is tested against them on random histories.
"""
