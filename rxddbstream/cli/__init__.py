"""The command line: prints a table's changes as they happen, and shows how its stream is doing.

    arguments.py    which command, and the options that several of them have
    main.py         runs one; errors become a sentence and an exit status
    notes.py        what a person is told on standard error
    source.py       the stream that the options name
    filters.py      which of its changes are wanted
    output.py       how they are printed
    terminal.py     what standard output can show
    progress_bar.py how far a backlog has been read
    watch.py ...    a command each: its options, and what it does

A new command is an entry in `arguments.COMMANDS` and a module, or a folder, of that name.

Standard output takes the data alone; all else goes to standard error. Whatever is slow to import is
imported when it is needed, so that `--help` answers at once.
"""
