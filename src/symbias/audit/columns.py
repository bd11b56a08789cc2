"""What each number of an audit means, and what to do about it."""

# column -> what it means, what to do
COLUMNS: dict[str, tuple[str, str]] = {
    "bond": (
        "A hidden dimension shared by some arrays, and where in the model it is.",
        "Find the row you want by it; arrays that are in no bond are listed with the reason.",
    ),
    "kind": (
        "What the bond is for: attention logits (qk), values (vo), units (mlp), gains, ...",
        "Compare bonds of one kind.",
    ),
    "layer": (
        "The block of the model, from 0; empty for a bond that lies in none or in all.",
        "Look for a layer unlike its neighbours, and ask how it was initialised, frozen or merged.",
    ),
    "head": (
        "The attention head, from 0; empty where the bond has no heads.",
        "Look for a head with dead dimensions; a small norm alone does not say that it is idle.",
    ),
    "group": (
        "Which moves of the dimension leave the function alone, and how many entries it has.",
        "Compare log volumes and conditions of equal groups only.",
    ),
    "dimension": (
        "How many independent directions of change leave the function alone.",
        "Take their sum from the number of parameters when you count what the model can express.",
    ),
    "log volume": (
        "Half the log determinant of the orbit's Gram matrix: how much room equal models have.",
        "Compare it at one bond over time; it depends on the point, so balancing changes it.",
    ),
    "imbalance": (
        "How unequal the two sides are: 0 at the least norm, 1 where one side is zero.",
        "Balance: the same function at less norm, which often rounds better too.",
    ),
    "norm": (
        "Half the squared norm of both sides: what weight decay of strength 1 charges now.",
        "Hold it against the least norm; what lies between buys nothing.",
    ),
    "least norm": (
        "The least that the same function can be charged, wherever on the orbit the file is.",
        "Compare files and layers by it, for balancing does not change it.",
    ),
    "dead": (
        "Dimensions that carry nothing, because one side of them is zero.",
        "Slice them out of both sides, or store an adapter at a lower rank.",
    ),
    "stabilizers": (
        "Directions of the group that move nothing here, because both sides of them are zero.",
        "Slice them out, or start them anew: at zero on both sides no gradient arrives.",
    ),
    "condition": (
        "The longest direction of the orbit over the shortest one that moves.",
        "Look at the spectrum on the page: some dimensions are nearly zero on both sides.",
    ),
    "rank": (
        "The fewest singular values of the product that hold 99.9% of its energy.",
        "Store an adapter at that rank; of a head it says how much of its width it uses.",
    ),
    "numbers": (
        "How many numbers are stored for each dimension, on both sides together.",
        "Multiply it by the dimensions that are dead: so much smaller can the file be.",
    ),
}
