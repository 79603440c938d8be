"""Middle floor: kernels for CPU threads. They validate nothing."""
