"""What the pages that verbs write have in common: their colours, their drawings, their look."""
