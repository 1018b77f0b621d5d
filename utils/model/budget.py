"""How much a batch may hold, in tokens of the language model."""

MAX_TOKENS = 32_768  # in a batch: a query with 12 + 3 candidates and large photos stays in one (docs/speed.md)
TOKENS_PER_CANDIDATE = 1024  # of one candidate's whole prompt with two photos of 500 x 375 pixels, rounded up
