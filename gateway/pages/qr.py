"""The enrolment QR code as inline SVG, and the secret as people copy it."""

import segno

_SCHEME = "otpauth://"


def svg(uri: str) -> str:
    """Return *uri* as an inline SVG element of black modules on white, without style, script or title.

    The element is hidden from assistive technology; whoever places it names it. Error correction M.

    Raises:
        ValueError: *uri* is no ``otpauth://`` address (it also becomes a link), or is too long for a code.
    """
    if not uri.startswith(_SCHEME):
        raise ValueError("an enrolment address must start with otpauth://")
    code = segno.make(uri, error="m", micro=False, boost_error=False)
    drawing: str = code.svg_inline(
        border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr-code", lineclass=None
    )
    return drawing.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def grouped(secret: str) -> str:
    """Return a base32 *secret* in groups of four, without padding: ``JBSW Y3DP``."""
    bare = secret.replace(" ", "").rstrip("=")
    return " ".join(bare[start : start + 4] for start in range(0, len(bare), 4))
