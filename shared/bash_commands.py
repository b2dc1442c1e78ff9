"""A simple command of Bash, word by word: whether a text that stands in it would be evaluated.

Bash takes some words for arithmetic, or for the name of a variable, whose index is arithmetic; and arithmetic can name commands:
with x='a[$(id)]' each of `let y=x`, `[[ $x -eq 1 ]]`, `a=([$x]=1)`, `read "$x"`, `declare -i y=$x` runs id.

Promises: in doubt a place counts as one that is evaluated. Must not be taken for a parser: quotes, substitutions and what begins or
ends a command are told to it (`shared.quoting`), and what a script does with a variable that it has set is its own.
"""

from __future__ import annotations

import re

EXPRESSION, SUBSTITUTION = "\0", "\1"
"""What stands in a word for an expression of ours, and for a substitution, which can be any text."""

RESERVED = frozenset("if then else elif while until do for select time coproc function ! {".split())
"""Words behind which a command begins, or in which it goes on."""

_PASSING = frozenset(("command", "builtin", "exec", "-p", "--"))
"""What stands before a command's name, besides these words and assignments."""

_LONGEST_WORD = 1_024
"""What is kept of one. An index that is longer stays open, and so nothing may stand behind it."""

_NUMBERS = frozenset("-eq -ne -lt -le -gt -ge".split())
_DECLARING = frozenset("declare typeset local".split())
_NAMING = frozenset("read mapfile readarray getopts unset wait let".split())
_VARIABLE_NEXT = frozenset("printf test [ [[".split())
_SPECIAL = re.compile(
    r"(BASH\w*|ENV|EPOCH\w*|HISTCMD|LINENO|OPTERR|OPTIND|PROMPT_COMMAND|PS[0-9]|RANDOM|SECONDS|SRANDOM)\Z"
)
"""Variables whose texts Bash evaluates when they are set, or expands when it prints them."""

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_][0-9A-Za-z_]*)(?P<index>\[[^\]]*\])?\+?=")
_BEFORE = re.compile(rf"{_ASSIGNMENT.pattern}|({SUBSTITUTION}|\$[\w@*]+)+\Z")
"""What stands before a command's name: assignments, and what may turn out to be nothing at all."""

_INDEXED = re.compile(r"\{?[A-Za-z_][0-9A-Za-z_]*\[")
_NUMERIC = re.compile(r"[-+]\w*[in]")


class Variables:
    """Of one script: which are declared to be numbers or names of others, and which are set to an expression."""

    def __init__(self) -> None:
        self._numeric: set[str] = set()
        self._assigned: set[str] = set()

    def declare(self, name: str) -> bool:
        """That it is a number, or another's name. Gives whether an expression is evaluated for it."""
        self._numeric.add(name)
        return name in self._assigned

    def assign(self, name: str) -> bool:
        """An expression to it. Gives whether it is evaluated."""
        self._assigned.add(name)
        return name in self._numeric or _SPECIAL.match(name) is not None


class Command:
    """The command that is being read. What `end_word` and `expression` give: whether an expression in it is evaluated."""

    def __init__(self, variables: Variables, array: str = "") -> None:
        """`array`: what is read are the elements of the array of that name."""
        self.word = ""
        self.is_begun = False
        """Whether there is a word, perhaps an empty one."""
        self.cases = 0
        """`case ... esac` around it: there a closing bracket ends a pattern."""
        self._variables = variables
        self._array = array
        self._begin()

    def _begin(self) -> None:
        self._name = ""
        self._last = ""
        self._is_target = False
        self._is_copy = False
        self._is_numeric = False
        self._is_compared = False
        self._has_expression = False

    @property
    def is_test(self) -> bool:
        """Within `[[ ]]`, where brackets and && end nothing."""
        return self._name == "[[" or (not self._name and self.word == "[[")

    @property
    def is_index(self) -> bool:
        """Within an array's index, where a blank ends nothing."""
        takes = not self._name or self._name in _DECLARING
        return takes and _INDEXED.match(self.word) is not None and _is_open(self.word)

    @property
    def list_of(self) -> str:
        """The array whose elements a bracket begins here; nothing where it begins something else."""
        found = _ASSIGNMENT.match(self.word)
        return found["name"] if found is not None and found.end() == len(self.word) else ""

    @property
    def may_begin(self) -> bool:
        """Whether (( here would be arithmetic, as far as the word tells."""
        return not self.word or self.word in RESERVED

    def add(self, text: str) -> None:
        """To the word, without its quotes."""
        if len(self.word) < _LONGEST_WORD:
            self.word += text[:_LONGEST_WORD]
        self.is_begun = True

    def redirect(self, is_copy: bool = False) -> bool:
        """< or > stands here: the next word is a file or a text, or (`is_copy`) a descriptor, which Bash expands twice."""
        is_evaluated = self.end_word()
        self._is_target = True
        self._is_copy = is_copy
        return is_evaluated

    def end_word(self) -> bool:
        """A blank stands here, or something else that no word has."""
        word, is_begun = self.word, self.is_begun
        self.word, self.is_begun = "", False
        if not is_begun:
            return False
        if self._is_target:
            self._is_target = False
            return False
        self._last = word
        if self._name == "[[":
            return self._end_of_test_word(word)
        if self._name in _DECLARING:
            self._is_numeric = self._is_numeric or _NUMERIC.match(word) is not None
            return self._is_numeric and self._variables.declare(re.split(r"[\[+=]", word)[0])
        if not self._name and not (word in RESERVED or word in _PASSING or _BEFORE.match(word)):
            self._name = word
            self.cases = max(0, self.cases + {"case": 1, "esac": -1}.get(word, 0))
        return False

    def _end_of_test_word(self, word: str) -> bool:
        if word == "]]":
            self._name = word
        elif word in {"&&", "||"}:
            self._is_compared = self._has_expression = False
        self._is_compared = self._is_compared or word in _NUMBERS
        return self._is_compared and self._has_expression

    def end(self) -> bool:
        """The command ends here."""
        is_evaluated = self.end_word()
        self._begin()
        return is_evaluated

    def expression(self) -> bool:
        """An expression stands here, as a part of the word."""
        before = self.word
        self.add(EXPRESSION)
        self._has_expression = True
        if self._is_target:
            return self._is_copy or before.startswith("{")
        if before.startswith("{") and _INDEXED.match(before) and _is_open(before):
            return True
        if self._array:
            return (before.startswith("[") and _is_open(before)) or self._variables.assign(self._array)
        if self._name in _VARIABLE_NEXT and (self._last == "-v" or before.startswith("-v")):
            return True
        if self._name in _DECLARING:
            return self._is_numeric or self._is_evaluated_value(before)
        if self._name:
            return self._name in _NAMING or (self._name == "[[" and self._is_compared)
        return (_INDEXED.match(before) or _ASSIGNMENT.match(before)) is not None and self._is_evaluated_value(before)

    def _is_evaluated_value(self, before: str) -> bool:
        """Unless it is what is assigned to a variable."""
        found = _ASSIGNMENT.match(before)
        if found is None:
            return True
        if found["index"] is not None:
            return _is_open(before[: found.end()])
        return self._variables.assign(found["name"])


def _is_open(word: str) -> bool:
    return word.count("[") > word.count("]")
