"""The command line of the user's side: one file a group of commands."""
