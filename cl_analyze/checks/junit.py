"""Verdicts as a JUnit file for GitLab, Jenkins and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from cl_analyze.checks.judge import Check
from cl_analyze.quoting import printable, without_secrets


def junit(checks: Sequence[Check], created: str) -> bytes:
    """One test suite for each checkpoint, one test case for each check.

    A failed check is a failure, and a skipped check is skipped.  Inconclusive checks and warnings
    pass, with the reason as output; so do checks whose bound has a note.

    Args:
        checks: the checks.
        created: UTC time, ISO 8601.
    """
    counts = _counts(checks)
    del counts["skipped"]  # in the schema, only suites have this count
    root = ElementTree.Element("testsuites", {"name": "cl-analyze", **counts})
    for number, source in enumerate(dict.fromkeys(check.record.source for check in checks)):
        of_source = [check for check in checks if check.record.source == source]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            {
                "name": _text(source),
                "id": str(number),
                "package": "cl-analyze",
                "hostname": "localhost",
                "timestamp": created.partition("+")[0],
                **_counts(of_source),
            },
        )
        ElementTree.SubElement(suite, "properties")
        for check in of_source:
            case = ElementTree.SubElement(
                suite, "testcase", name=_text(check.name), classname=_text(source), time="0"
            )
            text = _text(check.why)
            if check.verdict == "fail":
                failure = ElementTree.SubElement(case, "failure", type="bound", message=text)
                failure.text = text
            elif check.verdict == "skipped":
                ElementTree.SubElement(case, "skipped", message=text)
            elif check.verdict != "pass" or check.note is not None:
                ElementTree.SubElement(case, "system-out").text = f"{check.verdict}: {text}"
        ElementTree.SubElement(suite, "system-out")
        ElementTree.SubElement(suite, "system-err")
    return _bytes(root)


def junit_error(message: str) -> bytes:
    """A test suite of one test case, with the reason why the checks could not be judged."""
    counts = {"tests": "1", "failures": "0", "errors": "1", "time": "0"}
    root = ElementTree.Element("testsuites", {"name": "cl-analyze", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "cl-analyze check", **counts})
    attributes = {"name": "could not judge", "classname": "cl-analyze", "time": "0"}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    text = _text(message)
    ElementTree.SubElement(case, "error", message=text, type="input").text = text
    return _bytes(root)


def _bytes(root: ElementTree.Element) -> bytes:
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _counts(checks: Sequence[Check]) -> dict[str, str]:
    verdicts = [check.verdict for check in checks]
    return {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count("fail")),
        "errors": "0",
        "skipped": str(verdicts.count("skipped")),
        "time": "0",
    }


def _text(text: str) -> str:
    """Text that XML can hold, on one line."""
    return printable(without_secrets(text))
