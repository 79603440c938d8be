"""What ``fastmat compare`` and the asv suite measure, and how: cases, inputs, checks, clocks."""
