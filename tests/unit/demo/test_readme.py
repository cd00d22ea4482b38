"""The configuration that the README shows is one that the gateway accepts."""

import re
from pathlib import Path

from gateway.configuration.load import load

README = Path(__file__).parents[3] / "README.md"


def test_the_configuration_of_the_readme_loads(tmp_path: Path) -> None:
    main, app = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "apps").mkdir()
    (tmp_path / "ecluse.yaml").write_text(main, encoding="utf-8")
    (tmp_path / "apps" / "parcours.yaml").write_text(app, encoding="utf-8")
    policy = load(tmp_path / "ecluse.yaml").policy
    assert [route.name for route in policy.apps["parcours"].routes][-1] == "export"


def test_the_readme_names_every_command_of_the_makefile_that_newcomers_need() -> None:
    text = README.read_text(encoding="utf-8")
    assert all(f"make {name}" in text for name in ("demo", "test", "demo-check"))
