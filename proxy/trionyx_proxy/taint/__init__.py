"""What untrusted runs left behind, as operators see it: listed, and cleared by a recorded act of a person."""
