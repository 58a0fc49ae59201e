#!/usr/bin/env python3
"""Writes the manual pages and the shell completions: sluice.1 and the completions from what the command line itself knows
(`sluice reference`), sluice.yaml.5 and sluice-policy.5 from docs/. The results are kept in scripts/packaging/man and
scripts/packaging/completion; a test holds them against the binary and the documentation.

usage: scripts/packaging/make_manual.py [--check] [BINARY]     default: build/sluice. --check: exit status 1 where one is out of date
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "scripts/packaging"

EXIT_STATUS = [("0", "success (for mask also where it masked something)"), ("1", "the answer is no: not found, refused, scan found something"),
               ("2", "wrong usage or configuration"), ("3", "the daemon cannot be reached, or is not yet enforcing"),
               ("4", "the audit log was tampered with"), ("5", "the audit log is incomplete")]
FILES = [("/etc/sluice/sluice.yaml", "configuration; see sluice.yaml(5)"), ("/etc/sluice/policies/*.yaml", "policies; see sluice-policy(5)"),
         ("/var/lib/sluice", "audit log, and what belongs to it"), ("/run/sluice/control.sock", "how commands reach the daemon"),
         ("/sys/fs/bpf/sluice", "pinned eBPF programs and maps")]
ENVIRONMENT = [("SLUICE_CONTROL", "the control socket, instead of the one that the configuration names"), ("NO_COLOR", "no colour on terminals either")]


def walk(command, path=()):
    """Every command with its path, the top first."""
    yield path, command
    for child in command["commands"]:
        yield from walk(child, (*path, child["name"]))


# --- roff: groff_man(7) ---------------------------------------------------------------------------------------------------

def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti").replace("`", "\\(ga")
    text = re.sub(r"[^\x00-\x7f]", lambda match: "\\[u%04X]" % ord(match.group()), text)
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def inline(text):
    """Markdown inside a line: `code` and **bold** bold, [text](link) its text."""
    out = []
    for piece in re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))", text):
        if piece.startswith("`"):
            out.append("\\fB" + escape(piece[1:-1]) + "\\fR")
        elif piece.startswith("**"):
            out.append("\\fB" + escape(piece[2:-2]) + "\\fR")
        elif piece.startswith("[") and "](" in piece:
            out.append(escape(piece[1:piece.index("](")]))
        else:
            out.append(escape(piece))
    joined = "".join(out)
    return joined if not joined.startswith((".", "'")) else "\\&" + joined


def header(name, section, what):
    # Ragged right and without hyphens: addresses and names do not stretch or break.
    return [f".TH {name.upper()} {section} \"\" \"Sluice\" \"{what}\"", ".ad l", ".nh"]


def tagged(entries):
    lines = []
    for tag, text in entries:
        lines += [".TP", f"\\fB{escape(tag)}\\fR", inline(text)]
    return lines


def option_tag(option):
    value = f" {option['value']}" if option["value"] else ""
    return ", ".join(option["names"]) + value


def synopsis(path, command):
    words = ["\\fBsluice" + "".join(" " + escape(word) for word in path) + "\\fR"]
    if command["options"]:
        words.append("[\\fIOPTIONS\\fR]")
    for argument in command["arguments"]:
        words.append("\\fI" + escape(argument["name"]) + "\\fR" + ("..." if argument["many"] else ""))
    return " ".join(words)


def commands_page(tree):
    lines = header("sluice", 1, "User commands") + [".SH NAME", "sluice \\- masks, blocks and records what reaches protected targets", ".SH SYNOPSIS",
                                                   "\\fBsluice\\fR \\fICOMMAND\\fR [\\fIOPTIONS\\fR]", ".SH DESCRIPTION", inline(tree["description"]),
                                                   ".PP", inline("Output is for people by default; --json prints one object, or one per line for lists."),
                                                   ".SH OPTIONS"]
    lines += tagged([(option_tag(option), option["description"]) for option in tree["options"]])
    lines.append(".SH COMMANDS")
    for path, command in walk(tree):
        if not path:
            continue
        lines += [f".SS {escape(' '.join(path))}", synopsis(path, command), ".PP", inline(command["description"] + "."), ".PP"]
        lines += tagged([(argument["name"], argument["description"]) for argument in command["arguments"]])
        lines += tagged([(option_tag(option), option["description"]) for option in command["options"]])
        example = command["footer"].split("\n  ", 1)
        if len(example) == 2:
            lines += [".PP", "Example:", ".PP", ".EX", "    " + escape(example[1]), ".EE"]
    for title, entries in (("EXIT STATUS", EXIT_STATUS), ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        lines += [f".SH {title}", *tagged(entries)]
    lines += [".SH SEE ALSO", "\\fBsluice.yaml\\fR(5), \\fBsluice\\-policy\\fR(5), /usr/share/doc/sluice/"]
    return "\n".join(lines) + "\n"


def blocks(markdown):
    """(kind, content) of a page: heading, code, table, list, text. The subset that docs/ uses."""
    lines = markdown.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
            yield "code", lines[at + 1:end]
            at = end + 1
        elif line.startswith("#"):
            yield "heading", line
            at += 1
        elif line.startswith("|"):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("|")), len(lines))
            yield "table", lines[at:end]
            at = end
        elif re.match(r"(- |\d+\. )", line):
            end = next((i for i in range(at + 1, len(lines)) if not lines[i].strip() or lines[i].startswith(("#", "```", "|"))), len(lines))
            yield "list", lines[at:end]
            at = end
        elif line.strip():
            end = next((i for i in range(at + 1, len(lines))
                        if not lines[i].strip() or lines[i].startswith(("#", "```", "|", "- "))), len(lines))
            yield "text", lines[at:end]
            at = end
        else:
            at += 1


def cells(row):
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def document_page(name, what, markdown):
    lines = header(name, 5, "File formats") + [".SH NAME", f"{escape(name)} \\- {what}", ".SH DESCRIPTION"]
    for kind, content in blocks(markdown):
        if kind == "heading":
            level, title = content.split(" ", 1)
            if level != "#":
                lines.append((".SH " if level == "##" else ".SS ") + inline(title.upper() if level == "##" else title))
        elif kind == "code":
            lines += [".PP", ".EX", *["    " + escape(line) if line else "" for line in content], ".EE"]
        elif kind == "table":
            rows = [cells(row) for row in content if not re.fullmatch(r"[|:\- ]+", row)]
            if any(rows[0]):
                lines += [".PP", inline(" \u2014 ".join(cell for cell in rows[0] if cell) + ":")]
            for row in rows[1:]:
                lines += [".TP", inline(row[0]) or "\\&", inline(" \u2014 ".join(cell for cell in row[1:] if cell)) or "\\&"]
        elif kind == "list":
            item = []
            for line in [*content, "- "]:
                if re.match(r"(- |\d+\. )", line):
                    if item:
                        lines += [".IP \\(bu 2", inline(" ".join(item))]
                    item = [re.sub(r"^(- |\d+\. )", "", line)]
                else:
                    item.append(line.strip())
        else:
            lines += [".PP", inline(" ".join(line.strip() for line in content))]
    lines += [".SH SEE ALSO", "\\fBsluice\\fR(1)"]
    return "\n".join(lines) + "\n"


# --- completion -----------------------------------------------------------------------------------------------------------

NOTE = "made by scripts/packaging/make_manual.py from what the command line knows; do not edit"


def option_names(command):
    return [name for option in command["options"] for name in option["names"]]


def values_of(option):
    """What a value is completed with: files, directories, or nothing."""
    return {"FILE": "file", "DIR": "directory"}.get(option["value"])


def bash_completion(tree):
    cases = []
    for path, command in walk(tree):
        words = [child["name"] for child in command["commands"]] + option_names(command)
        files = any(argument["name"] == "FILE" for argument in command["arguments"])
        cases.append(f"    '{' '.join(path)}') words='{' '.join(words)}'{' files=yes' if files else ''} ;;")
    by_kind = {}
    for _, command in walk(tree):
        for option in command["options"]:
            if option["value"]:
                by_kind.setdefault(values_of(option), set()).update(option["names"])
    files, directories, others = ("|".join(sorted(by_kind.get(kind, ()))) or "-" for kind in ("file", "directory", None))
    known = " ".join(sorted("/".join(path) for path, _ in walk(tree) if path))
    return f"""# bash completion of sluice; {NOTE}
_sluice() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} path='' words='' files='' word i skip=''
  local known=' {known} '
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${{COMP_WORDS[i]}}
    if [[ $word == -- ]]; then   # the rest is a command of its own
      if ((i + 1 == COMP_CWORD)); then COMPREPLY=($(compgen -c -- "$current")); else COMPREPLY=($(compgen -f -- "$current")); fi
      return
    fi
    if [[ -n $skip ]]; then skip=''; continue; fi
    case $word in
      {files}|{directories}|{others}) skip=yes; continue ;;
      -*) continue ;;
    esac
    if [[ $known == *" ${{path:+$path/}}$word "* ]]; then path=${{path:+$path/}}$word; fi
  done
  case $previous in
    {files}) COMPREPLY=($(compgen -f -- "$current")); return ;;
    {directories}) COMPREPLY=($(compgen -d -- "$current")); return ;;
    {others}) return ;;
  esac
  case ${{path//\\// }} in
{chr(10).join(cases)}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [[ -n $files && $current != -* ]]; then COMPREPLY+=($(compgen -f -- "$current")); fi
}}
complete -o filenames -F _sluice sluice
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh_completion(tree):
    def arguments(command):
        lines = []
        for option in command["options"]:
            description = option["description"].replace("[", "(").replace("]", ")").replace(":", "\\:")
            action = {"file": ":FILE:_files", "directory": ":DIR:_files -/", None: ":" + (option["value"] or "") + ": "}[values_of(option)] if option["value"] else ""
            for name in option["names"]:
                lines.append(quoted(f"{name}[{description}]{action}"))
        for argument in command["arguments"]:
            action = "_files" if argument["name"] == "FILE" else "_normal" if argument["name"] == "COMMAND" else " "
            lines.append(quoted(("*" if argument["many"] else "") + f":{argument['name']}:{action}"))
        return lines

    functions = []
    for path, command in walk(tree):
        name = "_".join(("_sluice", *path))
        lines = [f"{name}() {{"]
        if command["commands"]:
            entries = " ".join(quoted(f"{child['name']}:{child['description']}") for child in command["commands"])
            lines += [f"  local -a commands=({entries})", "  local context state line", "  typeset -A opt_args",
                      "  _arguments -C " + " ".join([*arguments(command), "'1: :->command'", "'*:: :->rest'"]) + " && return",
                      "  case $state in", f"    command) _describe command commands ;;", "    rest) case $words[1] in"]
            lines += [f"      {child['name']}) {name}_{child['name']} ;;" for child in command["commands"]]
            lines += ["    esac ;;", "  esac"]
        else:
            lines.append("  _arguments " + " ".join(arguments(command)))
        functions.append("\n".join([*lines, "}"]))
    return f"#compdef sluice\n# zsh completion of sluice; {NOTE}\n\n" + "\n\n".join(functions) + "\n\n_sluice \"$@\"\n"


def fish_completion(tree):
    lines = [f"# fish completion of sluice; {NOTE}", "function __sluice_path", "    set -l words (commandline -opc)", "    set -l path",
             "    for word in $words[2..-1]", "        string match -q -- '--' $word; and break", "        string match -q -- '-*' $word; or set -a path $word",
             "    end", "    echo (string join ' ' $path)", "end", "function __sluice_at", "    string match -q -r -- \"^$argv[1]( |\\$)\" (__sluice_path)", "end",
             "complete -c sluice -f"]
    for path, command in walk(tree):
        here = " ".join(path)
        condition = f"__sluice_at {quoted(here)}" if path else "test -z (__sluice_path)"
        exact = f"test (__sluice_path) = {quoted(here)}" if path else condition
        for child in command["commands"]:
            lines.append(f"complete -c sluice -n {quoted(exact)} -a {child['name']} -d {quoted(child['description'])}")
        for option in command["options"]:
            names = " ".join(("-l " + name[2:]) if name.startswith("--") else ("-s " + name[1:]) for name in option["names"])
            value = "" if not option["value"] else " -r" + (" -F" if values_of(option) else "")
            lines.append(f"complete -c sluice -n {quoted(condition)} {names}{value} -d {quoted(option['description'])}")
        if any(argument["name"] == "FILE" for argument in command["arguments"]):
            lines.append(f"complete -c sluice -n {quoted(condition)} -F")
    return "\n".join(lines) + "\n"


def generate(binary):
    """Every file with its text."""
    tree = json.loads(subprocess.run([binary, "reference"], capture_output=True, text=True, check=True).stdout)
    return {HERE / "man/sluice.1": commands_page(tree),
            HERE / "man/sluice.yaml.5": document_page("sluice.yaml", "configuration of Sluice", (ROOT / "docs/configuration.md").read_text()),
            HERE / "man/sluice-policy.5": document_page("sluice-policy", "policies of Sluice", (ROOT / "docs/policy.md").read_text()),
            HERE / "completion/sluice.bash": bash_completion(tree),
            HERE / "completion/_sluice": zsh_completion(tree),
            HERE / "completion/sluice.fish": fish_completion(tree)}


def main(arguments):
    check = "--check" in arguments
    rest = [word for word in arguments if word != "--check"]
    if rest[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    stale = 0
    for path, text in generate(rest[0] if rest else ROOT / "build/sluice").items():
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"make_manual: {path.relative_to(ROOT)} is out of date; run scripts/packaging/make_manual.py", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
