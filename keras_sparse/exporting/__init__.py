"""Files of trained models for other programs, checked in the programs' own runtimes."""
