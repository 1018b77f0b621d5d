"""From when on photos count as one picture; imports nothing, so that flags can have these defaults. docs/audit.md."""

LIKENESS = 0.925  # of two photos, from which they are the same picture
MANY = 5  # queries that show one picture, from which it is a placeholder
