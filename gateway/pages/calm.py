"""The one page for faults of the wire, written without any room's help: no version, no address, no cause.

It is what leaves when mitmproxy itself refuses a message, when the app cannot be reached, or when a
flow arrived at the sentinel without a verdict. French first, English second.
"""

from http import HTTPStatus

_SENTENCES = {
    400: ("La requête n'a pas pu être comprise.", "The request could not be understood."),
    408: ("La requête a mis trop de temps à arriver.", "The request took too long to arrive."),
    413: ("L'envoi est trop volumineux.", "What was sent is too large."),
    414: ("L'adresse demandée est trop longue.", "The requested address is too long."),
    431: ("Les en-têtes de la requête sont trop volumineux.", "The request's headers are too large."),
    502: ("L'application ne répond pas correctement.", "The application does not answer properly."),
    504: ("L'application met trop de temps à répondre.", "The application takes too long to answer."),
    503: ("Le service est momentanément indisponible.", "The service is temporarily unavailable."),
}
_OTHERWISE = ("La demande n'a pas abouti.", "The request did not succeed.")
_PAGE = (
    '<!doctype html>\n<html lang="fr">\n<head><meta charset="utf-8"><title>{status}</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1"></head>\n'
    '<body><main><h1>{french}</h1>\n<p lang="en">{english}</p></main></body>\n</html>\n'
)


def calm_headers() -> tuple[tuple[str, str], ...]:
    """Return the headers every such page carries."""
    return (
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
        ("x-content-type-options", "nosniff"),
        ("connection", "close"),
    )


def calm_body(status: int) -> bytes:
    """Return the page for HTTP *status*, UTF-8."""
    french, english = _SENTENCES.get(status, _OTHERWISE)
    return _PAGE.format(status=status, french=french, english=english).encode()


def calm_answer(status: int) -> bytes:
    """Return a whole HTTP/1.1 answer for *status*, as bytes for the wire."""
    body = calm_body(status)
    phrase = HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in calm_headers()]
    lines += [f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("ascii") + body
