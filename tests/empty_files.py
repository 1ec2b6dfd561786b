"""Files whose names alone matter to a test."""


def touch(folder, *names):
    """Make empty files in a folder, with the folders that they lie in."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
