"""The one exception that ends a command with a clear line and exit status 2."""


class UserError(Exception):
    """Bad input: the message says what came, what is allowed and what to do."""
