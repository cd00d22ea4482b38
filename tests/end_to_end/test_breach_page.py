"""The dossier of a breach in Chromium: accessible (axe-core, WCAG 2.2 AA), loading nothing, running nothing."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from tests.unit.audit.breach.test_command import Office, audit_dir, keys_dir, office

__all__ = ["audit_dir", "keys_dir", "office"]

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs /usr/bin/chromium"),
]


def test_the_dossier_is_accessible_and_asks_for_nothing(office: Office) -> None:
    assert office.scope("html", "dossier.html", "--widen", "client").exit_code == 0
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        # The page's own policy forbids the checker's script, as it should.
        page = browser.new_context(bypass_csp=True).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((office.audit_dir.parent / "dossier.html").as_uri())
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert [url for url in asked if not url.endswith("/dossier.html")] == []
        assert page.get_by_role("img").count() == 2
        browser.close()
