"""Which pixels move: the flow a static scene would show against the flow that is seen."""
