"""The shape of a realm: names, sessions, wrong codes, classes. Its docstrings are docs/configuration.md."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from gateway.configuration.spec import ONE_OR_MORE, Spec, whole_as
from gateway.configuration.words import Name, Scalar, Seconds, Text, TimeZone
from gateway.vocabulary.limits import Mode

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = rf"^{_TIME}-({_TIME}|24:00)$"

Hard = Annotated[int, Field(gt=0, le=1_000_000_000_000)]


class NamesSpec(Spec):
    """How the apps of the realm collapse logins: must follow them, or two names are one person."""

    strip_domains: list[Text] = []
    """Windows domains: `CHU` makes `CHU\\login` the same as `login`."""
    email_domains: list[Text] = []
    """Mail domains: `chu.example` makes `login@chu.example` the same as `login`."""
    strip_prefixes: list[Text] = []
    """Prefixes the apps ignore, such as `ext-`."""
    drop: Annotated[str, Field(max_length=64)] = ""
    """Characters the apps ignore, each removed, such as `_.`."""
    replace: dict[Text, Annotated[str, Field(max_length=16)]] = {}
    """Characters the apps read as others, such as `é: e`."""
    scripts: list[Annotated[str, Field(pattern=r"^[A-Z]+$")]] = Field(default=["LATIN"], min_length=1)
    """Unicode scripts a login may be written in; look-alikes from other scripts are refused."""
    max_length: Annotated[int, Field(ge=1, le=1_024)] = 128
    """Longest login, in characters."""


class SessionsSpec(Spec):
    """Lifetimes of sessions, on the store's clock."""

    idle_s: Seconds = 1_800
    """Seconds without a request after which a session ends."""
    absolute_s: Seconds = 43_200
    """Seconds after which a session ends whatever happens."""
    at_most: Annotated[int, Field(ge=1, le=100)] = 2
    """Sessions one account may have in one app; the oldest is closed."""
    pending_s: Annotated[int, Field(ge=30, le=3_600)] = 300
    """Seconds between the app's password and the code."""
    step_up_s: Seconds = 3_600
    """Seconds for which a fresh code stays fresh: for doors with `step_up: always`."""


class FailuresSpec(Spec):
    """How wrong codes are paid for (NIST SP 800-63B-4, 3.2.2)."""

    free: Annotated[int, Field(ge=1, le=20)] = 5
    """Wrong codes without delay."""
    first_delay_s: Annotated[int, Field(ge=1, le=3_600)] = 30
    """Delay after them, doubled by each further one."""
    longest_delay_s: Annotated[int, Field(ge=1, le=86_400)] = 3_600
    """Longest delay."""
    lock_at: Annotated[int, Field(ge=2, le=100)] = 50
    """Consecutive wrong codes that lock the account (at most 100, as NIST asks)."""


class LimitValue(Spec):
    """One limit: a whole number, which is the hard one, or numbers and a mode."""

    hard: Hard
    """What no account of the class exceeds."""
    soft: Annotated[int, Field(ge=0, le=1_000_000_000_000)] | None = None
    """Past it a fresh code and a reason are asked for; the class's `soft_share` of `hard` when left out."""
    mode: Mode | None = None
    """`enforce`, `soft` or `observe`; the class's `mode` when left out."""


LimitSpec = Annotated[LimitValue, whole_as("hard")]


class LimitsSpec(Spec):
    """One limit or cap for each control."""

    requests_10s: LimitSpec | None = None
    """Requests per 10 seconds."""
    patients_10min: LimitSpec | None = None
    """Distinct patients per 10 minutes."""
    patients_1h: LimitSpec | None = None
    """Distinct patients per hour."""
    patients_24h: LimitSpec | None = None
    """Distinct patients per 24 hours, rolling."""
    patients_7d: LimitSpec | None = None
    """Distinct patients per 7 days, rolling."""
    rows_1h: LimitSpec | None = None
    """Rows listed per hour."""
    bytes_1h: LimitSpec | None = None
    """Bytes received on record, listing and export routes per hour."""
    exports_24h: LimitSpec | None = None
    """Exports per 24 hours."""
    probes_1h: LimitSpec | None = None
    """Answers 400, 401, 403, 404, 405 and 410, and answers to HEAD, on routes that name patients, per hour."""
    sightings_1h: LimitSpec | None = None
    """NIRs, phone numbers and e-mail addresses seen on routes nobody mapped, per hour; again in a session is free."""


class ClassSpec(LimitsSpec):
    """One class of accounts: every limit left out comes from the class it is `based_on`."""

    based_on: Literal["standard", "heavy", "grace"] = "standard"
    """Built-in class whose numbers fill in what is left out."""
    mode: Mode = Mode.ENFORCE
    """`enforce`; `soft` asks for a fresh code and only records what the hard bound would refuse; `observe` only
    records. For all limits of the class that do not say otherwise."""
    soft_share: Annotated[float, Field(ge=0, le=1, strict=False)] | None = None
    """Where soft bounds lie that are not written, as a share of the hard one; 1: nobody is asked. When left out: half
    for written limits, those of the built-in class for the others."""
    listed_weight: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.2
    """What a listed patient weighs beside an opened one, in steps of 0.001."""
    break_glass: bool = False
    """Whether somebody at a hard bound on patients may go on for a while, with a fresh code and a coded reason."""
    break_glass_patients: Annotated[int, Field(ge=1, le=10_000)] = 50
    """How many patients more."""
    break_glass_s: Seconds = 3_600
    """For how many seconds."""
    break_glass_per_24h: Annotated[int, Field(ge=1, le=24)] = 2
    """How often in any 24 hours."""


class CapRuleSpec(LimitsSpec):
    """Other bounds for a class, an app, an establishment or a time of day, or for several of these together."""

    name: Name
    """Name of the rule: `ecluse limits show` tells it beside the numbers it gives."""
    class_: Annotated[list[Name], ONE_OR_MORE] = Field(default=[], alias="class")
    """Class or classes it is for; all when left out."""
    app: Annotated[list[Name], ONE_OR_MORE] = []
    """App or apps it is for; all when left out."""
    establishment: Annotated[list[Annotated[Scalar, Field(min_length=1, max_length=200)]], ONE_OR_MORE] = []
    """Establishment or establishments it is for, as accounts are labelled; all when left out."""
    hours: Annotated[str, Field(pattern=_HOURS)] | None = None
    """Time of day it is for, such as `21:00-07:00`, on the clocks of `timezone`; always when left out."""
    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], ONE_OR_MORE] = []
    """Days on which its hours begin, such as `[sat, sun]`; all when left out."""


class GraceSpec(Spec):
    """The roll-out: accounts that nobody invited yet."""

    until: Annotated[AwareDatetime, Field(strict=False)]
    """Date and time with zone, such as `2027-01-31T00:00:00+01:00`: until then they pass without a code."""
    class_: Name = Field(default="grace", alias="class")
    """Class whose limits hold them meanwhile."""


class RealmSpec(Spec):
    """A directory of logins shared by several apps: one person, one account."""

    names: NamesSpec = NamesSpec()
    """How logins collapse into one name."""
    sessions: SessionsSpec = SessionsSpec()
    """Lifetimes of sessions."""
    failures: FailuresSpec = FailuresSpec()
    """The budget of wrong codes."""
    default_class: Name = "standard"
    """Class of accounts that were invited without one."""
    classes: dict[Name, ClassSpec] = {}
    """Classes of accounts; `standard`, `heavy` and `grace` exist without being written."""
    caps: list[CapRuleSpec] = []
    """Other bounds by class, app, establishment and time of day; the most specific rule wins."""
    timezone: TimeZone = "Europe/Paris"
    """Where the hours of `caps` are local; summer time is followed."""
    invitation_s: Seconds = 604_800
    """Seconds an invitation is good for."""
    dormant_s: Seconds = 7_776_000
    """Seconds without login after which an account needs a new invitation."""
    quarantine_s: Annotated[int, Field(ge=0, le=2_592_000)] = 86_400
    """Seconds after its enrolment for which an account has half of every cap; 0: none."""
    grace: GraceSpec | None = None
    """Roll-out period; without it an account that nobody invited is refused."""
