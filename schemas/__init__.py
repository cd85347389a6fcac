"""Records and contracts: what every part of pubner agrees on. Imports no other part of pubner."""
