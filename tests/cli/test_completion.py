"""Completion: what is offered, and that real shells take it."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
import stories

from filemill.cli.completing import split

BIN = os.path.dirname(sys.executable)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    root = tmp_path_factory.mktemp("told")
    stories.tell(root)
    (root / "filemill.yaml").write_text(
        "version: 1\ntags: {notes: {name: '*.txt'}, 'kind:odd one': {}}\npipelines: {letters: {}}\n"
    )
    (root / "letter.txt").touch()
    return root


@pytest.fixture
def offered(told, filemill):
    filemill.folder = told

    def ask(line):
        done = filemill("__complete", line)
        assert done.stderr == ""
        return dict(each.partition("\t")[::2] for each in done.stdout.splitlines())

    return ask


def test_commands_with_their_meaning(offered):
    assert "what failed for good" in offered("filemill ")["dead"]
    assert set(offered("filemill he")) == {"held"}
    assert {"ls", "show"} <= set(offered("filemill files "))
    assert set(offered("filemill -c x.yaml files sh")) == {"show"}


@pytest.mark.parametrize(
    ("line", "expected", "others"),
    [
        ("filemill files show ", {"aaaaaaaa", "eeeeeeee"}, set()),
        ("filemill files show aa", {"aaaaaaaa"}, {"eeeeeeee"}),
        ("filemill dead show ", {"bbbbbbbb", "bbbbbbbc"}, {"aaaaaaaa"}),
        ("filemill dead redrive ", {"bbbbbbbb"}, {"aaaaaaaa"}),
        ("filemill held show ", {"cccccccc"}, {"aaaaaaaa"}),
        ("filemill files ls --tag ", {"orders", "partner:acme", "notes"}, set()),
        ("filemill files ls --tag=partner:a", {"--tag=partner:acme"}, {"--tag=orders"}),
        ("filemill files ls -p ", {"orders", "letters"}, set()),
        ("filemill pause ", {"orders", "letters"}, set()),
        ("filemill files ls --state d", {"done", "dead", "discarded"}, {"held"}),
        ("filemill tail -s ", {"arrived", "retrying"}, {"live"}),
        ("filemill graph --format ", {"mermaid", "dot"}, set()),
        ("filemill completion ", {"bash", "fish"}, set()),
        ("filemill files ls --js", {"--json"}, set()),
        ("filemill files ls --json --", {"--state"}, {"--json"}),
        ("filemill steps show rou", {"route"}, {"write"}),
        ("filemill run --once ", {"::files"}, set()),
        ("filemill try ", {"::files", "aaaaaaaa"}, set()),
        ("filemill -c ", {"::files"}, set()),
        ("/usr/local/bin/filemill he", {"held"}, set()),
        ("filemill status ", set(), {"aaaaaaaa"}),
        ("filemill files show 'a", {"aaaaaaaa"}, set()),
    ],
)
def test_values(offered, line, expected, others):
    found = set(offered(line))
    assert expected <= found
    assert not others & found


def test_groups_are_offered_as_people_write_them(offered):
    groups = [word for word in offered("filemill dead ls D-") if word.startswith("D-")]
    assert len(groups) == 1
    assert re.fullmatch(r"D-[0-9a-f]{6}", groups[0])


def test_names_come_as_their_meaning_and_cannot_do_harm(offered):
    found = offered("filemill held show ")
    assert found["cccccccc"] == r"evil\x1b[2J\xff.csv (held)"
    assert "kind:odd one" not in offered("filemill files ls --tag k")  # would need quotes


@pytest.mark.parametrize(
    "line", ["", "filemill", "ls", 'filemill "', "filemill nonsense x --y ", "\\"]
)
def test_it_never_fails(filemill, line):
    assert filemill("__complete", line).stderr == ""
    assert filemill("__complete").stderr == ""


def test_no_ledger_and_no_configuration_offer_what_needs_neither(filemill):
    assert "done" in filemill("__complete", "filemill files ls -s ").stdout
    assert filemill("__complete", "filemill files show ").stdout == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [("a b", ["a", "b"]), ("a b ", ["a", "b", ""]), ("a 'b c", ["a", "b c"]), ("a 'b c' ", ["a", "b c", ""])],
)  # fmt: skip
def test_the_last_word_is_where_the_cursor_is(line, words):
    assert split(line) == words


# --- real shells -----------------------------------------------------------------------------------------

_START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
_LOAD = {
    "bash": 'bind "set show-all-if-ambiguous on"; eval "$(filemill completion bash)"',
    "zsh": 'autoload -U compinit; compinit -u -D; eval "$(filemill completion zsh)"',
    "fish": "filemill completion fish | source",
}


class Terminal:
    """A shell on a terminal of its own, with `filemill` on its path."""

    def __init__(self, shell, folder):
        self.main, child = pty.openpty()
        environ = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "xterm",
            "PS1": "$ ",
        }
        self.process = subprocess.Popen(
            [shutil.which(shell), *_START[shell]],
            cwd=folder, stdin=child, stdout=child, stderr=child, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(child)
        self.seen = ""

    def type(self, keys):
        self.seen = ""
        os.write(self.main, keys.encode())

    def until(self, text, seconds=40):
        deadline = time.monotonic() + seconds
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen):
            ready, _, _ = select.select([self.main], [], [], 0.5)
            if ready:
                self.seen += os.read(self.main, 65536).decode(errors="replace")
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.main)


@pytest.fixture
def terminal(request, told):
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    opened = Terminal(shell, told)
    opened.type(f"{_LOAD[shell]}; echo loa''ded\n")
    opened.until("loaded")
    yield opened
    opened.close()


@pytest.mark.parametrize("terminal", ["bash", "zsh"], indirect=True)
def test_a_shell_completes_a_command_an_id_a_tag_and_a_file(terminal):
    terminal.type("filemill hel\t")
    terminal.until("filemill held")
    terminal.type("\x15filemill files show aa\t")
    terminal.until("filemill files show aaaaaaaa")
    terminal.type("\x15filemill files ls --tag partner:\t")
    terminal.until("partner:acme")
    terminal.type("\x15filemill explain lett\t")
    terminal.until("letter.txt")
    terminal.type("\x15filemill files ls --state d\t\t")
    terminal.until("discarded")


@pytest.mark.parametrize(
    ("line", "expected"),
    [("files show aa", "aaaaaaaa"), ("files ls --tag partner:", "partner:acme"), ("explain lett", "letter.txt")],
)  # fmt: skip
def test_fish_takes_the_offers(told, line, expected):
    if shutil.which("fish") is None:
        pytest.skip("no fish on this machine")
    program = f"filemill completion fish | source; complete -C 'filemill {line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", program],
        cwd=told,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(told)},
    )
    assert expected in {each.partition("\t")[0] for each in done.stdout.splitlines()}
