"""The schema of the record: what a reader must understand to touch what this version writes (ADR 0035)."""

#: Raised only where a reader that does not know the new meaning would do wrong; new fields alone do not.
#: What carries no number was written before there was one, and is of schema 1.
RECORD_SCHEMA = 1
