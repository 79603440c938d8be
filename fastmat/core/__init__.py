"""Ground floor: arrays, checks, dtypes, compilation."""
