"""Shell completion and manual pages: made from what the command line itself knows, up to date, whole, and readable by the tools that read them."""
import json
import re
import shutil
import subprocess

import pytest

from daemon import BINARY, ROOT

PACKAGING = ROOT / "scripts/packaging"


def commands(tree=None, path=()):
    """(path, command) of every command, from the binary."""
    if tree is None:
        tree = json.loads(subprocess.run([BINARY, "reference"], capture_output=True, text=True, check=True).stdout)
    yield path, tree
    for child in tree["commands"]:
        yield from commands(child, (*path, child["name"]))


def help_options(path):
    text = subprocess.run([BINARY, *path, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?m)^ +(?:-\w,)?(--[a-z-]+)", text)) | {"--help"}, text


def test_the_reference_is_what_help_says():
    seen = dict(commands())
    assert {("run",), ("try",), ("connections", "end"), ("audit", "verify")} <= set(seen)
    for path, command in seen.items():
        options, text = help_options(path)
        assert {name for option in command["options"] for name in option["names"] if name.startswith("--")} == options, path
        for child in command["commands"]:
            assert re.search(rf"(?m)^ +{child['name']}\b", text), (path, child["name"])
        assert len(re.findall(r"(?m)^  [a-z]+  ", text.split("Subcommands:")[-1] if "Subcommands:" in text else "")) == len(command["commands"]), path


def test_what_is_kept_is_up_to_date():
    run = subprocess.run(["/usr/bin/python3", PACKAGING / "make_manual.py", "--check", BINARY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", ["sluice.1", "sluice.yaml.5", "sluice-policy.5"])
def test_pages_render_without_warnings(page):
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    run = subprocess.run(["man", "--warnings=w", "-l", PACKAGING / "man" / page], capture_output=True, text=True, check=False,
                         env={"MANWIDTH": "100", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"})
    assert run.returncode == 0 and not run.stderr, run.stderr
    assert "NAME" in run.stdout and "SEE ALSO" in run.stdout and len(run.stdout.splitlines()) > 40
    assert "\\f" not in run.stdout and "**" not in run.stdout, "markup that was not understood"


def test_the_page_has_every_command_and_option():
    page = (PACKAGING / "man/sluice.1").read_text().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    sections = dict(zip(*[iter(re.split(r"(?m)^\.SS (.+)$", page)[1:])] * 2))
    for path, command in commands():
        if path:
            text = sections[" ".join(path)]
            for option in command["options"]:
                assert all(name in text for name in option["names"]), (path, option)
            assert "Example:" in text


def test_configuration_and_policy_pages_have_every_key():
    page = (PACKAGING / "man/sluice.yaml.5").read_text().replace("\\-", "-")
    for key in ("targets", "addresses", "when_down", "accelerate", "statement_bytes_max", "state_directory", "durability", "retention_days", "socket",
                "metrics", "workers", "bpf_directory"):
        assert key in page, key
    page = (PACKAGING / "man/sluice-policy.5").read_text().replace("\\-", "-")
    for word in ("default", "because", "block", "reveal", "statement", "identity"):
        assert word in page, word


def complete(*words):
    """What bash offers for a line that ends in the last word."""
    script = f"""source {PACKAGING}/completion/sluice.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sluice; printf '%s\\n' "${{COMPREPLY[@]}}" """
    run = subprocess.run(["bash", "-c", script, "bash", "sluice", *words], capture_output=True, text=True, check=True)
    assert not run.stderr, run.stderr
    return set(run.stdout.split())


def test_bash_offers_every_command_and_option():
    for path, command in commands():
        names = {name for option in command["options"] for name in option["names"]}
        children = {child["name"] for child in command["commands"]}
        offered = complete(*path, "")
        assert children <= offered, (path, children - offered)
        assert names <= complete(*path, "-"), path


def test_bash_knows_where_it_is(tmp_path):
    assert complete("ses") == {"sessions"}
    assert complete("--config", "/x", "sessions", "k") == {"kill"}
    assert "--head" in complete("audit", "verify", "--json", "--h")
    assert complete("events", "--filter", "audit", "--f") == {"--filter", "--follow"}, "a value is no command"
    (tmp_path / "policies").mkdir()
    (tmp_path / "file").touch()
    assert complete("try", "--policy", f"{tmp_path}/") == {f"{tmp_path}/policies"}
    assert complete("audit", "verify", "--head", f"{tmp_path}/f") == {f"{tmp_path}/file"}
    assert "psql" in complete("try", "--", "psq")
    assert complete("scan", f"{tmp_path}/f") == {f"{tmp_path}/file"}


@pytest.mark.parametrize("shell, file", [("bash", "sluice.bash"), ("zsh", "_sluice"), ("fish", "sluice.fish")])
def test_shells_read_their_files(shell, file):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    run = subprocess.run([shell, "-n", PACKAGING / "completion" / file], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and not run.stderr, run.stderr


@pytest.mark.parametrize("file", ["_sluice", "sluice.fish"])
def test_the_other_shells_have_every_command_and_option_too(file):
    text = (PACKAGING / "completion" / file).read_text()
    for path, command in commands():
        for child in command["commands"]:
            assert child["name"] in text
        for option in command["options"]:
            for name in option["names"]:
                form = name if file == "_sluice" else f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                assert form in text, (path, name)


def test_they_are_installed(tmp_path):
    run = subprocess.run([PACKAGING / "install", "--root", tmp_path, "--binary", BINARY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for path in ("usr/share/man/man1/sluice.1", "usr/share/man/man5/sluice.yaml.5", "usr/share/man/man5/sluice-policy.5",
                 "usr/share/bash-completion/completions/sluice", "usr/share/zsh/vendor-completions/_sluice",
                 "usr/share/fish/vendor_completions.d/sluice.fish", "usr/share/sluice/grafana/sluice.json", "usr/share/doc/sluice/metrics.md"):
        assert (tmp_path / path).stat().st_size > 500, path
