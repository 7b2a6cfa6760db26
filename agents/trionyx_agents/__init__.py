"""Agent runtimes that know one MCP server and nothing of policies, labels or logs."""
