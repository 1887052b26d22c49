"""Language models as judges of answers: what they are asked, whether they can be believed, what follows from it."""
