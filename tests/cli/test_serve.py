import re

import pytest

from tests.cli.commands import refused, sunaug

pytest.importorskip("fastapi", reason="needs the extra service")
pytest.importorskip("sqlalchemy", reason="needs the extra service")


def test_keys_are_made_listed_and_revoked(tmp_path):
    state = ("--state", tmp_path)
    made = sunaug("keys", "create", "Ada Lovelace", "--scope", "read", "--per-day", "500", *state)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert re.fullmatch(r"sunaug_[0-9a-f]{12}_[\w-]{43}", token)
    key, secret = token.split("_", 2)[1:]
    listed = sunaug("keys", "list", *state).stdout
    assert re.search(rf"{key} +read +500 +\d{{4}}-\d\d-\d\d +- +Ada Lovelace", listed)
    assert secret not in listed
    assert "revoked" in sunaug("keys", "revoke", key, *state).stdout
    assert re.search(rf"{key} +read +500 +(\S+) +\1 +Ada Lovelace", sunaug("keys", "list", *state).stdout)


def test_commands_that_are_refused(tmp_path, capsys):
    state = ("--state", tmp_path / "state")
    for arguments, code, reason in (
        (
            ("serve", *state, "--host", "0.0.0.0", "--port", "0"),
            2,
            "--host 0.0.0.0: other machines are let in with an API key only",
        ),
        (("serve", *state, "--bundle", tmp_path), 1, "not a whole bundle"),
        (("serve", *state, "--bundle", "nothing"), 2, "no such bundle"),
        (("serve", *state, "--policy", "nothing"), 2, "no such policy"),
        (("serve", *state, "--scheduler", "threads"), 2, "give an address"),
        (("serve", *state, "--host", "203.0.113.7"), 1, "cannot be served there"),
        (("serve", *state, "--database", "nonsense"), 2, "not a URL that can be used here"),
        (("serve", *state, "--database", "sqlite:////nowhere/at/all.sqlite"), 1, "cannot be opened"),
        (("keys", "create", "a\nb", *state), 2, "a key's name"),
        (("keys", "create", "a", "--scope", "root", *state), 2, "--scope root"),
        (("keys", "revoke", "0" * 12, *state), 2, "no such key in use"),
    ):
        found, message = refused(capsys, *arguments)
        assert (found, reason in message) == (code, True), message


def test_without_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in (("serve",), ("keys", "list")):
        code, message = refused(capsys, *command, "--state", tmp_path / "state")
        assert (code, "sunaug[service]" in message) == (1, True)
    assert not (tmp_path / "state").exists()
