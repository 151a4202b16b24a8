"""What measurements have in common: the machine that they depend on, fio, and the pages that are written."""
