"""The error tree: the docstring is what the code does."""

import re
from typing import get_args

import pytest

from schemas import errors
from schemas.errors import ErrorClass, Fault, ManifestError, PromptmillError, RowError


def subclasses(root: type[PromptmillError]) -> set[type[PromptmillError]]:
    return {root}.union(*(subclasses(child) for child in root.__subclasses__()))


def ours() -> set[type[PromptmillError]]:
    return {found for found in subclasses(PromptmillError) if found.__module__ == errors.__name__}


def told() -> dict[str, str]:
    """Name -> exit status or error class, of every line of the tree in the module's docstring."""
    tree = (errors.__doc__ or "").split("```")[1]
    return dict(re.findall(r"(\w+) +(\d|-|[a-z_]+(?=\n))", tree.replace("exit status", "")))


def test_the_tree_in_the_docstring_names_every_error() -> None:
    assert told().keys() >= {found.__name__ for found in ours()} - {"PromptmillError"}


@pytest.mark.parametrize("error", sorted(ours() - {PromptmillError}, key=lambda found: found.__name__))
def test_the_tree_tells_the_exit_status_or_the_class_of_a_row(error: type[PromptmillError]) -> None:
    expected = told()[error.__name__]
    if error is RowError:
        assert expected == "-"
    elif issubclass(error, RowError):
        assert error.error_class == expected
    else:
        assert str(error.exit_status) == expected


def test_every_class_of_a_failed_row_has_one_error() -> None:
    found = [error.error_class for error in subclasses(RowError) if error is not RowError]
    assert sorted(found) == sorted(get_args(ErrorClass))


def test_an_error_says_what_and_what_to_do() -> None:
    error = PromptmillError("it broke", hint="mend it")
    assert (str(error), error.message, error.hint) == ("it broke", "it broke", "mend it")


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "text"),
        [
            (Fault(line=3, field="steps", value="0", message="at least 1"), "line 3, steps = 0: at least 1"),
            (Fault(line=3, field=None, value=None, message="not JSON"), "line 3: not JSON"),
            (Fault(line=None, field=None, value=None, message="no rows"), "manifest: no rows"),
            (Fault(line=1, field="id", value="", message="empty"), "line 1, id = : empty"),
        ],
    )
    def test_a_fault_reads_like_a_sentence(self, fault: Fault, text: str) -> None:
        assert str(fault) == text

    def test_all_faults_are_counted_even_if_not_all_are_kept(self) -> None:
        fault = Fault(line=1, field=None, value=None, message="bad")
        assert str(ManifestError([fault])) == "1 fault in the manifest; nothing was sent"
        assert str(ManifestError([fault], total=70_000)) == "70000 faults in the manifest; nothing was sent"
