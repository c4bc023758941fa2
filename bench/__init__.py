"""The suite measured against its peers and against the machine. Run modules, never import them."""
