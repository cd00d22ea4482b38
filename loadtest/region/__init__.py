"""A region at work and the thieves who rob it, in virtual time through the gateway's own rules.

Professionals and thieves are coroutines; the store is a real Valkey with the product's own Lua, in which only the
function that reads the server's clock is replaced; who may enter and what may leave is decided by gateway.policy.
"""
