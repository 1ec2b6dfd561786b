"""What a GPU must do as a CPU does, and how fast it is: the checks of ``gpu_report.py`` and of ``pytest -m gpu``.

A check is a function that takes plain values and returns :class:`~gpu_checks.findings.Findings`. The suite says which
checks there are, the plan shares the time among them, workers run them, the report writes down what they found.
"""
