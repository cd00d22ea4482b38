"""How the last reload ended, as the serving process tells the commands beside it in ``reload.json``."""

from pathlib import Path

import msgspec


class AnswerUnread(Exception):
    """The answer is missing, cannot be read, or is none. The message names the file."""


class ReloadAnswer(msgspec.Struct, frozen=True):
    """Whether the files came into force, the policy in force since (empty: not told), and what spoke against them."""

    loaded: bool = False
    policy_id: str = ""
    faults: tuple[str, ...] = ()


def read_answer(path: Path) -> ReloadAnswer:
    """Return the answer in the file *path*.

    Raises:
        AnswerUnread: there is no file, it cannot be read, or it holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReloadAnswer)
    except OSError as error:
        raise AnswerUnread(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AnswerUnread(f"{path} holds no answer to a reload: {error}") from error
