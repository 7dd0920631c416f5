"""What is measured: ``python -m bench`` (or ``make bench``).  Not part of the tests."""
