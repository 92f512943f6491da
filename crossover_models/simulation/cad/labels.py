"""What Sweet Home 3D's models are in our words: an explicit table by name, because words alone mislead.

A bedside table is no table, a class seat is a chair, a baby bed is no bed that a person sleeps in. What is not in the
table is not used: characters, vehicles, garden things, openings, whatever is too odd to be called by a plain word.
"""

from __future__ import annotations

_BY_NAME: dict[str, tuple[str, ...]] = {
    "armchair": ("Armchair", "Modern armchair", "Winchester armchair"),
    "bathtub": ("Bath", "Island bath"),
    "bed": ("Bed", "Captain's bed", "Child bed", "Hospital bed", "Iron bed"),
    "bin": ("Bullet trash can", "Dustbin", "Recycling bin"),
    "bookshelf": ("Bookcase", "Full bookcase"),
    "cabinet": ("Cupboard", "Dresser with drawers", "Filing cabinet", "Chest"),
    "chair": (
        "Chair",
        "Chair with cushion",
        "Class seat",
        "Oak chair",
        "Osaka chair",
        "Plastic chair",
        "Ryokan chair",
    ),
    "coffee table": ("Coffee table",),
    "counter": ("Drawers cabinet", "Island", "Lower cabinet", "Small lower cabinet"),
    "crate": ("Cardboard box", "Crate"),
    "desk": ("Desk", "Desk table", "Wooden desk"),
    "fridge": ("Fridge", "Large fridge", "Refrigerator"),
    "nightstand": ("Bedside table",),
    "plant": (
        "Decorative plant",
        "Ficus",
        "Indoor plant",
        "Plant",
        "Spathiphyllum",
        "Yucca",
    ),
    "radiator": ("Radiator",),
    "shelf": ("Shelves", "Vertical shelves"),
    "shower": ("Shower stall",),
    "sink": ("Small lavatory", "Washbasin"),
    "sofa": (
        "Burlap sofa",
        "Clear sofa",
        "Convertible sofa BZ",
        "Couch",
        "Futon couch",
        "Sofa",
        "Sofa 2 seats",
        "Sofa 3 seats",
        "Winchester sofa",
    ),
    "stove": ("Large stove", "Propane stove"),
    "table": (
        "Black table",
        "Folding table",
        "Glass table",
        "Oak table",
        "Round table",
        "Table",
        "Table on trestles",
        "Wooden alder table",
        "Wooden table",
        "Wooden teak table",
    ),
    "toilet": ("Toilets unit",),
    "tv stand": ("TV stand",),
    "wardrobe": ("Wardrobe",),
    "washing machine": ("Clothes washing machine", "Washing machine"),
    # Small things.
    "basketball": ("Basketball",),
    "book": ("Book",),
    "bottle": ("Beer bottle", "Wine bottle"),
    "bowl": ("Bowl",),
    "bread": ("Bread",),
    "candle": ("Candle",),
    "clock": ("Clock",),
    "coffee machine": ("Coffee brewer", "Coffee machine", "Coffee maker"),
    "cup": ("Coffee cup", "Coffee mug", "Cup"),
    "desk lamp": ("Desk lamp",),
    "kettle": ("Espresso kettle", "Teapot"),
    "knife": ("Kitchen knife", "Knife"),
    "laptop": ("Apple iBook", "Laptop"),
    "microwave": ("Microwave",),
    "monitor": ("Apple iMac 2004",),
    "newspaper": ("Newspaper",),
    "pan": ("Large pan",),
    "phone": ("Apple iPhone", "Mobile phone"),
    "plate": ("Oval plate", "Plate"),
    "remote control": ("TV remote control",),
    "rug": ("Oriental rug", "Round carpet"),
    "soap": ("Soap",),
    "speaker": ("Speaker",),
    "stool": ("Stool",),
    "table lamp": ("Lamp", "Little lamp"),
    "teddy bear": ("Teddy bear",),
    "television": ("TV", "TV 16:9", "Wall flat TV"),
    "toaster": ("Toaster",),
    "towel": ("Towel",),
    "vase": ("Vase",),
}

_INDOOR = frozenset({"Bathroom", "Bedroom", "Kitchen", "Lights", "Living room", "Miscellaneous", "Office"})
_HANGING_M = 1.3
_OFFICE_CHAIR_LEAST_M = 0.55
_FLOOR_LAMP_LEAST_M = 1.1
_POT_MOST_M = 0.3

CATEGORY_OF = {name: category for category, names in _BY_NAME.items() for name in names}
CATEGORIES = tuple(sorted(_BY_NAME))


def category_of(
    name: str, catalog_category: str, size_m: tuple[float, float, float], elevation_m: float = 0.0
) -> str | None:
    """Our category of a catalog's model, or None where it is not used.

    Args:
        name: the model's name in English.
        catalog_category: the catalog's, in English.
        size_m: depth, width, height.
        elevation_m: at which the catalog hangs it.
    """
    if catalog_category not in _INDOOR:
        return None
    category = CATEGORY_OF.get(name)
    depth, width, height = size_m
    # The same name means something else at another size or in another of the catalog's categories.
    if catalog_category == "Office" and name in ("Chair", "Armchair") and min(depth, width) >= _OFFICE_CHAIR_LEAST_M:
        return "office chair"
    if category == "table lamp":
        if elevation_m >= _HANGING_M:
            return None
        return "lamp" if height > _FLOOR_LAMP_LEAST_M else category
    if category == "plant" and height < _POT_MOST_M:
        return "potted plant"
    return category
