"""The manager's settings and its command."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from manager.main import main
from manager.options import PROGRAM, address, origins
from shared.errors import Malformed

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "manager.toml"


def test_the_example_explains_every_option_and_loads() -> None:
    text = EXAMPLE.read_text()
    assert text == PROGRAM.example()
    settings = PROGRAM.parse([], {}, text)
    assert address(settings, "listen") == ("127.0.0.1", 8470)


def test_plain_text_is_for_loopback_only() -> None:
    for host in ("0.0.0.0:8470", "[::]:8470", "10.0.0.1:8470", "manager.example:8470"):
        with pytest.raises(Malformed) as why:
            address(PROGRAM.parse(["--listen", host], {}, None), "listen")
        assert why.value.code == "tls_needed"
    assert address(PROGRAM.parse(["--listen", "[::1]:8470"], {}, None), "listen") == ("::1", 8470)
    secure = ["--listen", "0.0.0.0:8470", "--tls-certificate", "/x.crt", "--tls-key", "/x.key"]
    assert address(PROGRAM.parse(secure, {}, None), "listen") == ("0.0.0.0", 8470)


def test_an_address_that_is_none_is_refused_by_its_setting() -> None:
    for text in ("8470", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", ":8470", "127.0.0.1:99999"):
        with pytest.raises(Malformed) as why:
            address(PROGRAM.parse(["--listen", text], {}, None), "listen")
        assert "listen" in why.value.detail


def test_the_urls_that_tokens_and_proofs_are_made_for_have_one_form() -> None:
    settings = PROGRAM.parse(["--url", "https://Manager.Example:443/"], {}, None)
    assert origins(settings, "url", "listen", "https") == ("https://manager.example",)
    assert origins(settings, "delegate_url", "delegate_listen", "http") == ("http://127.0.0.1:8471",)
    several = PROGRAM.parse(["--delegate-url", "https://a:1,https://b"], {}, None)
    assert origins(several, "delegate_url", "delegate_listen", "https") == ("https://a:1", "https://b")
    with pytest.raises(Malformed) as why:
        origins(PROGRAM.parse(["--url", "manager.example"], {}, None), "url", "listen", "https")
    assert "setting url" in why.value.detail


def test_a_one_time_token_is_printed_and_kept_as_a_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "data" / "manager.db"
    assert main(["account", "add", "--database", f"sqlite:///{database}"]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) == 43
    assert all(token.encode() not in one.read_bytes() for one in database.parent.iterdir())
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert main(["account", "list", "--database", f"sqlite:///{database}"]) == 0
    assert capsys.readouterr().out == ""


def test_a_mistake_is_told_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acount"]) == 2
    assert "no such command" in capsys.readouterr().err
    assert main(["--databse", "x"]) == 2
    assert "did you mean --database?" in capsys.readouterr().err
    assert main(["--config", "/nonexistent.toml"]) == 2
    assert "settings file" in capsys.readouterr().err
    assert main(["--check-config", "--tls-key", "/x"]) == 2
    assert "give both or neither" in capsys.readouterr().err


def test_the_help_tells_the_options_and_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--delegate-listen" in text and "account add" in text
    assert main(["--version"]) == 0
    assert main(["--check-config"]) == 0
    assert "database" in capsys.readouterr().out


def test_a_silence_that_would_cut_every_delegate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check-config", "--heartbeat", "10s"]) == 2
    assert "silence" in capsys.readouterr().err
    assert main(["--check-config", "--heartbeat", "10s", "--silence", "20s"]) == 0
