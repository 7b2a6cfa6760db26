"""A signed, hash-chained log: format, writer, verifier, proofs; knows nothing of tools or policies."""
