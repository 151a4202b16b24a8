"""The control files: parse, format, errno. What they show and do belongs to the levels below."""
