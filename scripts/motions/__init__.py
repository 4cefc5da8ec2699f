"""The commands of `mprl motion`: one file each, with its `Options` and its `run(options, words)`."""
