"""Every page once, for the tables of the unit tests and for the browser."""

from collections.abc import Callable

from gateway.pages import views
from gateway.pages.language import Language
from gateway.policy.policy import Body
from gateway.vocabulary.decision import Reason
from gateway.vocabulary.limits import Control
from gateway.vocabulary.messages import Reply
from gateway.vocabulary.need import Need
from tests.people import DR_MARTIN

PREFIX = "/.ecluse/"
TOKEN = "jeton-du-formulaire"
SEALED = "v1.k1.nonce.chiffre"
# The key of RFC 6238, appendix B, in base32.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
URI = f"otpauth://totp/GRADeS%20Exemple:{DR_MARTIN.login}?secret={SECRET}&issuer=GRADeS%20Exemple"
CODES = tuple(f"k7fp-9qd{digit}-w2mx" for digit in range(10))
REFERENCE = "7F3K-92QD"
OPENED_MS = 1_763_800_000_000
SESSIONS = (
    views.SessionRow("s1", "Parcours", OPENED_MS, OPENED_MS + 900_000, "10.1.2.3", "Firefox, Windows", True),
    views.SessionRow("s2", "Admissions", OPENED_MS, OPENED_MS, "2001:db8::1", "Chrome, Linux"),
)

Look = views.Look
Page = Callable[[Look], Reply]


def look(language: Language = "fr", *, secure: bool = True) -> Look:
    """Return an ordinary look."""
    return Look(language, Body("GRADeS Exemple", "03 53 01 00 00"), PREFIX, "Parcours", secure)


def _forms() -> dict[str, Page]:
    error = views.FormError
    pages: dict[str, Page] = {}
    for fault in (None, *error):
        name = f"-{fault}" if fault else ""
        wait = 90 if fault is error.TOO_MANY else None
        pages |= {
            f"code{name}": lambda at, f=fault, w=wait: views.code(at, token=TOKEN, error=f, retry_after_s=w),
            f"recovery{name}": lambda at, f=fault: views.recovery(at, token=TOKEN, error=f),
            f"invitation{name}": lambda at, f=fault: views.invitation(at, token=TOKEN, error=f),
            f"enrol{name}": lambda at, f=fault: views.enrol(
                at, token=TOKEN, uri=URI, secret=SECRET, login=DR_MARTIN.login, error=f
            ),
            f"start{name}": lambda at, f=fault: views.start(
                at, token=TOKEN, error=f, next="/dossiers?page=2"
            ),
            f"start-recovery{name}": lambda at, f=fault: views.start(at, token=TOKEN, error=f, by="recovery"),
            f"start-invitation{name}": lambda at, f=fault: views.start(
                at, token=TOKEN, error=f, by="invitation"
            ),
        }
    return pages


def _refusals() -> dict[str, Page]:
    pages: dict[str, Page] = {
        f"refusal-{reason}": lambda at, r=reason: views.refusal(at, reason=r, status=403, reference=REFERENCE)
        for reason in Reason
    }
    for control in Control:
        pages[f"refusal-cap-{control}"] = lambda at, c=control: views.refusal(
            at, reason=Reason.CAP, status=429, reference=REFERENCE, retry_after_s=560, control=c
        )
    pages["refusal-login"] = lambda at: views.refusal(
        at, reason=Reason.SESSION_EXPIRED, status=401, reference=REFERENCE, login_path="/connexion"
    )
    pages["refusal-step-up-withheld"] = lambda at: views.refusal(
        at, reason=Reason.STEP_UP_OWED, status=401, reference=REFERENCE, control=Control.PATIENTS_1H
    )
    pages["refusal-step-up"] = lambda at: views.refusal(
        at, reason=Reason.STEP_UP_OWED, status=401, reference=REFERENCE, login_path="/x", asks_code=True
    )
    return pages


def _step_ups() -> dict[str, Page]:
    pages: dict[str, Page] = {}
    for fault in (None, *views.FormError):
        name = f"-{fault}" if fault else ""
        pages |= {
            f"step-up{name}": lambda at, f=fault: views.step_up(
                at, token=TOKEN, to=SEALED, error=f, words="relève"
            ),
            f"step-up-recovery{name}": lambda at, f=fault: views.step_up(
                at, token=TOKEN, to=SEALED, by="recovery", chosen=Need.OTHER, error=f
            ),
        }
    return pages


OTHERS: dict[str, Page] = {
    "recovery-codes": lambda at: views.recovery_codes(at, codes=CODES, next_path="/dossiers"),
    "grace": lambda at: views.grace(at, until_ms=1_800_000_000_000, next_path="/dossiers"),
    "recovery-used": lambda at: views.recovery_used(at, left=7, next_path="/dossiers"),
    "sessions": lambda at: views.sessions(at, token=TOKEN, sessions=SESSIONS),
    "sessions-none": lambda at: views.sessions(at, token=TOKEN, sessions=()),
    "home": lambda at: views.home(at, token=TOKEN),
    "onward": lambda at: views.onward(at, location="https://portail.example/accueil?de=parcours"),
    "signed-out": lambda at: views.signed_out(at, login_path="/connexion"),
}
FORMS = _forms()
REFUSALS = _refusals()
STEP_UPS = _step_ups()
PAGES = {**FORMS, **STEP_UPS, **OTHERS, **REFUSALS}
