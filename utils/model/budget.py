"""How much a batch may hold, in tokens of the language model."""

MAX_TOKENS = 32_768  # in a batch: a query with 12 + 3 candidates and large photos stays in one (docs/speed.md)
