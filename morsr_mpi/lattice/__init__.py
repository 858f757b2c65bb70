"""The lattice E8: points, nearest points, roots, Weyl chamber, Coxeter plane.

Points are int32 *doubled coordinates*: the point itself is doubled / 2. E8 is the set of
doubled vectors whose entries all have one parity and a sum divisible by 4; its 240 roots
have squared norm 2 (doubled: 8).
"""
