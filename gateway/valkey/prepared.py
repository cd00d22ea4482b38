"""A call to the store that is put again and again."""

from collections.abc import Sequence

from gateway.valkey.link import Argument


class Prepared:
    """A call that is put again and again, always the same: its bytes are made once for each store."""

    __slots__ = ("args", "function", "keys", "packed", "store_id")

    def __init__(self, function: str, keys: Sequence[Argument], args: Sequence[Argument]) -> None:
        self.function = function
        self.keys = keys
        self.args = args
        self.packed = b""
        self.store_id = ""

    def same(self, other: "Prepared") -> bool:
        """Tell whether *other* asks the very same."""
        return (self.function, self.keys, self.args) == (other.function, other.keys, other.args)
