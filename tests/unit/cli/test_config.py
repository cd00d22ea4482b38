"""``ecluse config``: faults told to people and machines, exit codes, reload of a running process."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.configuration import load
from gateway.configuration.in_force import of_loaded

CONFIGS = Path(__file__).parents[2] / "configs"


def run(*arguments: str) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    code = leaving.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        # Help and version load no command.
        (("--version",), 0, "ecluse 0.1.0", ""),
        (("--help",), 0, "Example:", ""),
        (("config", "--help"), 0, "Example:", ""),
        # Misspelt commands and options end with 2, on standard error.
        (("conifg",), 2, "", "Did you mean 'config'?"),
        (("zzz",), 2, "", "Commands: serve, demo"),
        (("config", "chekc"), 2, "", "chekc"),
        (("config", "check", "--nonsense"), 2, "", "--nonsense"),
        (("config", "check", "--config", "/nowhere/ecluse.yaml"), 2, "", "No such file"),
    ],
)
def test_outcome_of_arguments(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, out: str, err: str
) -> None:
    assert run(*arguments) == code
    told = capsys.readouterr()
    assert out in told.out
    assert err in told.err


def test_sound_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(CONFIGS / "working_smallest.yml")
    assert run("config", "check", "--config", file) == 0
    assert "is sound: 1 app(s), 2 routes" in capsys.readouterr().out
    assert run("config", "check", "--json", "--config", file) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sound"], told["apps"]) == (True, ["demo"])


def test_faults_for_people_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    file = CONFIGS / "busted_misspelt_key.yml"
    assert run("config", "check", "--config", str(file)) == 2
    told = capsys.readouterr()
    assert not told.out
    assert f"{file}:7:5: realms.chu.defualt_class" in told.err
    assert run("config", "check", "--json", "--config", str(file)) == 2
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert (fault["line"], fault["where"]) == (7, "realms.chu.defualt_class")


def test_help_imports_no_command() -> None:
    probe = (
        "import sys; from gateway.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print([m for m in sys.modules if m.startswith(('gateway.', 'pydantic', 'mitmproxy'))])"
    )
    told = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "['gateway.cli']"


# A stand-in for the serving process: it answers a hangup as the gateway does, through reload.json.
_ANSWERS = """
import os, pathlib, signal, sys
state, outcome = pathlib.Path(sys.argv[1]), sys.argv[2]
def answer(*_):
    (state / "reload.new").write_text(outcome)
    (state / "reload.new").replace(state / "reload.json")
signal.signal(signal.SIGHUP, answer if outcome else signal.SIG_IGN)
(state / "ecluse.pid").write_text(f"{os.getpid()}\\n")
print("ready", flush=True)
while True:
    signal.pause()
"""


def _configured(tmp_path: Path) -> str:
    text = (CONFIGS / "working_smallest.yml").read_text().replace("gateway:", "gateway:\n  state_dir: .", 1)
    (tmp_path / "ecluse.yaml").write_text(text)
    return str(tmp_path / "ecluse.yaml")


@pytest.mark.parametrize(
    ("outcome", "code", "told"),
    [
        ('{"loaded": true, "policy_id": "00ff", "faults": []}', 0, "in force: policy 00ff"),
        ('{"loaded": false, "policy_id": "00ff", "faults": ["x.yaml:1: bad"]}', 1, "x.yaml:1: bad"),
        ('{"loaded": tr', 2, "reload.json holds no answer to a reload"),
        ("", 2, "did not answer within 0.2 s"),
    ],
)
def test_reload_tells_what_the_gateway_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: str, code: int, told: str
) -> None:
    command = [sys.executable, "-c", _ANSWERS, str(tmp_path), outcome, "gateway"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wait_s = "20" if outcome else "0.2"
            assert run("config", "reload", "--wait-s", wait_s, "--config", _configured(tmp_path)) == code
        finally:
            process.send_signal(signal.SIGKILL)
    shown = capsys.readouterr()
    assert told in shown.out + shown.err


def test_reload_never_signals_a_stranger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _configured(tmp_path)
    assert run("config", "reload", "--config", file) == 2
    assert "no gateway is running" in capsys.readouterr().err
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        try:
            (tmp_path / "ecluse.pid").write_text(str(stranger.pid))
            assert run("config", "reload", "--config", file) == 2
            assert "is not the gateway" in capsys.readouterr().err
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize(
    ("before", "after", "code", "told"),
    [
        ("chu: {}", "chu: {}", 0, "The same in effect."),
        ("chu: {}", "chu: {sessions: {idle_s: 600}}", 1, "stronger: realms.chu.sessions.idle_s: 1800 -> 600"),
        ("chu: {}", "chu: {sessions: {idle_s: 7200}}", 3, "weaker: realms.chu.sessions.idle_s: 1800 -> 7200"),
        ("chu: {}", "chu: {}\n\n# A comment", 0, "The same in effect."),
        ("chu: {}", "chu: {sessions: {idle_s: long}}", 2, "fault"),
    ],
)
def test_diff_tells_effects_and_not_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, code: int, told: str
) -> None:
    text = (CONFIGS / "working_smallest.yml").read_text().partition("\nrealms:")[2].partition("\napps:")[2]
    files = []
    for name, realm in (("old", before), ("new", after)):
        files.append(str(tmp_path / f"{name}.yaml"))
        Path(files[-1]).write_text(f"version: 1\nrealms:\n  {realm}\napps:{text}")
    assert run("config", "diff", *files) == code
    shown = capsys.readouterr()
    assert told in shown.out + shown.err
    if code != 2:
        assert run("config", "diff", "--json", *files) == code
        answer = json.loads(capsys.readouterr().out)
        assert answer["weakens"] is (code == 3)
        assert bool(answer["changes"]) is (code > 0)


def test_diff_without_a_gateway_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _configured(tmp_path)
    assert run("config", "diff", "--config", file) == 2
    assert "what the gateway has in force is not known" in capsys.readouterr().err
    of_loaded(load(Path(file))).write(tmp_path / "in-force.json")
    assert run("config", "diff", "--config", file) == 0
    assert "no gateway is running" in capsys.readouterr().err
    assert run("config", "diff", "a", "b", "c") == 2


def test_nobody_accepts_a_change_of_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("config", "reload", "--accept-weakening", "--config", _configured(tmp_path)) == 2
    assert "no gateway is running" in capsys.readouterr().err


def test_reload_with_faults_leaves_the_gateway_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "reload", "--config", str(CONFIGS / "busted_unknown_realm.yml")) == 2
    assert "nothing was changed" in capsys.readouterr().err


def test_explain_tells_rule_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    file = str(CONFIGS / "working_smallest.yml")
    url = "https://demo.chu.example/patients/12"
    assert run("config", "explain", "GET", url, "--config", file) == 0
    assert "by rule 'patient': no-session" in capsys.readouterr().out
    assert run("config", "explain", "GET", url, "--as", "dr.martin", "--json", "--config", file) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["app"], told["rule"], told["decision"]) == ("demo", "patient", "forwarded")
    assert run("config", "explain", "POST", url, "--param", "nothing", "--config", file) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
    assert run("config", "explain", "GET", "/patients/12", "--config", file) == 2


def test_reference_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "reference") == 0
    assert capsys.readouterr().out.startswith("### The top of the main file")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 21:00 to 07:00 in Réunion, where it is 22:00 while Greenwich has 18:00.
        (("--at", "2026-11-25T12:00:00+00:00"), "class ward: "),
        (("--at", "2026-11-25T18:00:00+00:00"), "patients-1h 12/30 (enforce, by rule nights)"),
        (
            ("--at", "2026-11-25T18:00:00+00:00", "--establishment", "010000024"),
            "patients-1h 24/60 (enforce, by rule lille)",
        ),
        (("--class", "offices"), "exports-24h 0/2 (observe, by rule register)"),
        (
            ("--class", "offices", "--at", "2026-11-28T19:00:00+00:00"),
            "patients-10min 1/5 (enforce, by rule closed)",
        ),
    ],
)
def test_explain_tells_which_rule_gives_each_bound(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], expected: str
) -> None:
    file = str(CONFIGS / "working_caps.yml")
    url = "https://demo.chu.example/patients/1001"
    assert run("config", "explain", "GET", url, "--as", "dr.martin", *options, "--config", file) == 0
    told = capsys.readouterr().out
    assert expected in told
    by_day = options == ("--at", "2026-11-25T12:00:00+00:00")
    assert ("by rule nights" in told) == ("rule nights" in expected)
    assert ("patients-1h 40/100 (enforce)," in told) == by_day
    assert run("config", "explain", "GET", url, "--as", "x", "--class", "wards", "--config", file) == 2
    assert "there is no class 'wards' in realm chu: one of grace" in capsys.readouterr().err
