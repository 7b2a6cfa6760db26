"""The enforcement point between an agent and its tools: every call decided, labelled, recorded."""
