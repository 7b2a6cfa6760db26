"""A file store as an MCP server: `list`, `read`, `write` on absolute POSIX paths below one directory."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from trionyx_agents.demo.journal import Journal
from trionyx_agents.demo.server import Arguments, Tool, ToolError, directory, serve


def locate(root: Path, path: str) -> Path:
    """Map an absolute POSIX path of the store to the real file; never to one outside `root`.

    Raises:
        ToolError: the path is relative, climbs, or leads out of the store.
    """
    virtual = PurePosixPath(path)
    if not virtual.is_absolute() or ".." in virtual.parts or "\x00" in path:
        raise ToolError("paths are absolute and do not climb")
    real = root.joinpath(*virtual.parts[1:]).resolve()
    if not real.is_relative_to(root.resolve()):
        raise ToolError("paths are absolute and do not climb")
    return real


def tools(root: Path) -> tuple[Tool, ...]:
    """Make the file store's tools over `root`."""

    def list_files(arguments: Arguments) -> str:
        folder = locate(root, arguments["path"])
        if not folder.is_dir():
            raise ToolError("there is no such folder")
        return "\n".join(entry.name + ("/" if entry.is_dir() else "") for entry in sorted(folder.iterdir()))

    def read(arguments: Arguments) -> str:
        file = locate(root, arguments["path"])
        if not file.is_file():
            raise ToolError("there is no such file")
        return file.read_text(encoding="utf-8")

    def write(arguments: Arguments) -> str:
        file = locate(root, arguments["path"])
        if not file.parent.is_dir() or file.is_dir():
            raise ToolError("there is no such folder")
        file.write_text(arguments["content"], encoding="utf-8")
        return "written"

    text = {"type": "string"}
    return (
        Tool("list", "List a folder of the file store.", {"path": text}, list_files),
        Tool("read", "Read a text file of the file store.", {"path": text}, read),
        Tool("write", "Write a text file of the file store.", {"path": text, "content": text}, write),
    )


if __name__ == "__main__":
    state = directory("FILES_DIR")
    serve("files", tools(state / "tree"), Journal(state))
