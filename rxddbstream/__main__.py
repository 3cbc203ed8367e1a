# PYTHON_ARGCOMPLETE_OK
"""The `rxddbstream` command, and `python -m rxddbstream`."""


def main() -> int:
    """Run the command line; returns its exit status."""
    try:
        # In here, since Ctrl-C may come while it is being imported.
        from rxddbstream.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
