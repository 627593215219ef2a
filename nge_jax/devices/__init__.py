"""Where a run computes: devices and processes, finite numbers, compiled programs, TensorFlow on the host."""
