"""Django's administration over a model of patients: ``python -m tests.end_to_end.real_apps.django_site FOLDER``.

Makes the database in FOLDER, serves it with Django's own server on a free port of loopback, and says the port.
"""

import sys
from pathlib import Path

from django.conf import settings

PATIENTS = 600
PASSWORD = "Glycine-Mauve-62"
CLERKS = tuple(f"agent{number:02d}" for number in range(1, 31))
READER = "lecteur"
SURNAMES = ("ABELARD", "BERTHELOT", "CARDINAL", "DUVIVIER", "ESPERANDIEU", "FROMENTIN")

urlpatterns: list[object] = []


def configure(folder: Path) -> None:
    """Set Django up as ``startproject`` does, but for the database, the speed of hashes and the language."""
    settings.configure(
        SECRET_KEY="not-a-secret",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "tests.end_to_end.real_apps.care",
        ],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ],
                },
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": folder / "db.sqlite3",
                "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"},
            }
        },
        # Tables straight from the models: migrating takes seconds and shows nothing here.
        MIGRATION_MODULES=dict.fromkeys(("admin", "auth", "contenttypes", "sessions")),
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LANGUAGE_CODE="fr",
        TIME_ZONE="Europe/Paris",
        STATIC_URL="/static/",
        LOGGING_CONFIG=None,
    )


def seed() -> None:
    """Make the tables, the clerks, and 600 invented patients."""
    from datetime import date, timedelta

    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Permission, User
    from django.core.management import call_command

    from tests.end_to_end.real_apps.care.models import Patient

    call_command("migrate", run_syncdb=True, verbosity=0)
    hashed = make_password(PASSWORD)
    staff = [User(username=name, password=hashed, is_staff=True) for name in (*CLERKS, READER)]
    User.objects.bulk_create([*staff, User(username="usager", password=hashed)])
    may = {each.codename: each for each in Permission.objects.filter(content_type__app_label="care")}
    for user in User.objects.filter(is_staff=True):
        wanted = ["view_patient"] if user.username == READER else list(may)
        user.user_permissions.set([may[name] for name in wanted])
    Patient.objects.bulk_create(
        Patient(
            nom=f"{SURNAMES[number % len(SURNAMES)]}-{number:03d}",
            prenom=f"Prénom{number}",
            naissance=date(1936, 1, 1) + timedelta(days=number),
            telephone=f"01 99 00 {number // 100:02d} {number % 100:02d}",
        )
        for number in range(1, PATIENTS + 1)
    )


def main(folder: Path) -> None:
    """Serve until killed."""
    configure(folder)

    import django

    django.setup()
    seed()

    from django.contrib import admin
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import run
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    urlpatterns.append(path("admin/", admin.site.urls))
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    handler = StaticFilesHandler(get_wsgi_application())
    handler.serve = _static  # type: ignore[method-assign]
    run("127.0.0.1", 0, handler, threading=True, on_bind=lambda port: print(f"port {port}", flush=True))


def _static(request: object) -> object:
    """Serve static files although DEBUG is off, as ``runserver --insecure`` does."""
    from django.contrib.staticfiles.views import serve

    return serve(request, request.path.removeprefix("/static/"), insecure=True)  # type: ignore[attr-defined,arg-type]


if __name__ == "__main__":
    sys.modules["tests.end_to_end.real_apps.django_site"] = sys.modules["__main__"]
    main(Path(sys.argv[1]))
