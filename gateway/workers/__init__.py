"""Several inspectors on one port, and the supervisor that begins, watches and replaces them.

The supervisor decides nothing about an exchange and reads no key: it holds the listening socket, the embedded
store and a pipe to each worker. What a worker is, only its command line says.
"""
