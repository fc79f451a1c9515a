"""Where frames come from: one file per origin, all behind one protocol."""
