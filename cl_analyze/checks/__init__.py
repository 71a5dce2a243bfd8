"""Gates for continuous integration: rules on numbers, against bounds or against a baseline.

rules.py      rules, and their files
needs.py      the analyses that some rules need, and the record that a rule names
baseline.py   numbers of an earlier checkpoint, with pseudo-values for paired tests
judge.py      the verdict of a rule
run.py        measure, judge, save a baseline
text.py       the verdicts for the terminal
junit.py, markdown.py, github.py   the verdicts for other programs
"""

from cl_analyze.checks.judge import Check, overall
from cl_analyze.checks.rules import Rule, load_rules
from cl_analyze.checks.run import Checked, CheckOptions, run_checks

__all__ = ["Check", "CheckOptions", "Checked", "Rule", "load_rules", "overall", "run_checks"]
