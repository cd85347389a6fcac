"""Records and contracts shared by all of pubner. Imports no other part of pubner."""
