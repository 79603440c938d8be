"""The public functions for arrays on GPUs: the same names, arguments and errors."""
