"""What the emulator raises."""


class Fault(Exception):
    """A kernel does what is an error or undefined on a GPU."""


class UnknownInstruction(Exception):
    """A kernel uses what the emulator does not know."""
