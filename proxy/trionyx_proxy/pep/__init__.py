"""The edge of the proxy: MCP downstream and upstream, and the one loop that performs effects."""
