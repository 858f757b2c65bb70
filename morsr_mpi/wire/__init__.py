"""Bounded bytes and messages: what ranks say to each other, and how it is checked."""
