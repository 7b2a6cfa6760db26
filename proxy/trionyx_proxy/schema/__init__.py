"""A tool's input schema, pinned: strict about unknown members, explicit about defaults, bounded in work."""

from trionyx_proxy.schema.pinned import PinnedSchema, descriptor_digest

__all__ = ["PinnedSchema", "descriptor_digest"]
