"""What Sweet Home 3D's models are in our words: an explicit table by name, because words alone mislead.

A bedside table is no table, a class seat is a chair, a baby bed is no bed that a person sleeps in. What is not in the
table is not used: characters, vehicles, garden things, openings, whatever is too odd to be called by a plain word.
"""

from __future__ import annotations

_BY_NAME: dict[str, tuple[str, ...]] = {
    "armchair": ("Armchair", "Modern armchair", "Winchester armchair"),
    "bathtub": ("Bath", "Corner bathtub", "Island bath"),
    "bed": ("Bed", "Captain's bed", "Child bed", "Hospital bed", "Iron bed"),
    "bin": ("Bullet trash can", "Dustbin", "Recycling bin"),
    "bookshelf": ("Bookcase", "Full bookcase"),
    "cabinet": ("Chest", "Cupboard", "Dresser with drawers", "Filing cabinet"),
    "chair": (
        "Chair",
        "Chair with cushion",
        "Class seat",
        "Folding chair",
        "Oak chair",
        "Osaka chair",
        "Plastic chair",
        "Ryokan chair",
    ),
    "coffee table": ("Coffee table",),
    "counter": ("Drawers cabinet", "Island", "Island extension", "Lower cabinet", "Small lower cabinet"),
    "crate": ("Crate",),
    "desk": ("Desk", "Desk table", "Wooden desk"),
    "fridge": ("Fridge", "Large fridge", "Refrigerator"),
    "nightstand": ("Bedside table",),
    "plant": (
        "Bonsai tree",
        "Cactus",
        "Decorative plant",
        "Ficus",
        "Flowers",
        "Indoor plant",
        "Little plant",
        "Orchids",
        "Plant",
        "Spathiphyllum",
        "Spider plant",
        "Succulent plant",
        "Tulips",
        "White lily",
        "Yucca",
    ),
    "radiator": ("Radiator",),
    "shelf": ("Shelves", "Vertical shelves"),
    "shower": ("Shower stall",),
    "sink": ("Sink", "Sink cabinet", "Small lavatory", "Vanity", "Washbasin"),
    "sofa": (
        "Burlap sofa",
        "Clear sofa",
        "Convertible sofa BZ",
        "Corner sofa",
        "Couch",
        "Futon couch",
        "Sofa",
        "Sofa 2 seats",
        "Sofa 3 seats",
        "Winchester sofa",
    ),
    "stove": ("Large stove", "Propane stove"),
    "table": (
        "Bar table",
        "Black table",
        "Folding table",
        "Glass table",
        "Oak table",
        "Round table",
        "Table",
        "Table on trestles",
        "Table with tablecloth",
        "Wooden alder table",
        "Wooden table",
        "Wooden teak table",
    ),
    "toilet": ("Toilets unit",),
    "tv stand": ("TV stand",),
    "wardrobe": ("Wardrobe",),
    "washing machine": ("Clothes washing machine", "Washing machine"),
    # Small things.
    "bag": ("Backpack", "Briefcase", "Handbag"),
    "basketball": ("Basketball",),
    "book": ("Book",),
    "boots": ("Bootie",),
    "bottle": ("Beer bottle", "Bottle", "Flacon", "Medicine bottle", "Wine bottle", "Yogurt bottle"),
    "bowl": ("Bowl", "Bowl with salad"),
    "box": ("Cardboard box", "Medicine box", "Open cardboard box"),
    "bread": ("Bread",),
    "candle": ("Candle",),
    "clock": ("Clock",),
    "coffee machine": ("Coffee brewer", "Coffee machine", "Coffee maker"),
    "cup": ("Coffee cup", "Coffee mug", "Cup", "Plastic cup"),
    "desk lamp": ("Desk lamp",),
    "fruit": ("Apples", "Bowl with fruits"),
    "hamper": ("Clothes basket",),
    "knife": ("Kitchen knife", "Knife"),
    "laptop": ("Apple iBook", "Laptop"),
    "microwave": ("Microwave",),
    "monitor": ("Apple iMac 1998", "Apple iMac 2004"),
    "newspaper": ("Newspaper",),
    "ottoman": ("Puff",),
    "pan": ("Large pan",),
    "paper roll": ("Paper towel holder",),
    "phone": ("Apple iPhone", "Mobile phone", "Phone", "Wireless phone"),
    "plate": ("Oval plate", "Plate"),
    "remote control": ("TV remote control",),
    "rug": ("Oriental rug", "Round carpet"),
    "safe": ("Safe",),
    "soap": ("Soap",),
    "speaker": ("Speaker",),
    "statue": ("Deer",),
    "stool": ("Bar chair", "Bar stool", "Stool"),
    "table lamp": ("Lamp", "Little lamp", "Pedestal vase lamp"),
    "teddy bear": ("Teddy bear",),
    "television": ("TV", "TV 16:9", "Wall flat TV"),
    "tennis racket": ("Tennis racket",),
    "toaster": ("Toaster",),
    "towel": ("Towel",),
    "vase": ("Vase",),
}

# Looked at, these are not what their names say, or nobody would know them by it.
_BY_MODEL: dict[str, str | None] = {
    "blendswap-cc-0/armchair": "chair",
    "blendswap-cc-0/bookcase": "cabinet",
    "blendswap-cc-by/armChair2": "armchair",
    "scopia/bathroom_vanity": None,
    "scopia/dining_room": None,
    "scopia/kids_desk_chair": "office chair",
    "scopia/little_lamp1": None,
    "scopia/little_lamp3": None,
    "scopia/office_furniture1": "cabinet",
    "scopia/vase5": None,
}

_INDOOR = frozenset({"Bathroom", "Bedroom", "Kitchen", "Lights", "Living room", "Miscellaneous", "Office"})
_HANGING_M = 1.3
_OFFICE_CHAIR_LEAST_M = 0.55
_FLOOR_LAMP_LEAST_M = 1.1
_COFFEE_TABLE_MOST_M = 0.58
_HUNG_M = 0.2

CATEGORY_OF = {name: category for category, names in _BY_NAME.items() for name in names}
CATEGORIES = tuple(sorted(_BY_NAME))


def category_of(
    name: str,
    catalog_category: str,
    size_m: tuple[float, float, float],
    elevation_m: float = 0.0,
    model_id: str = "",
) -> str | None:
    """Our category of a catalog's model, or None where it is not used.

    Args:
        name: the model's name in English.
        catalog_category: the catalog's, in English.
        size_m: depth, width, height.
        elevation_m: at which the catalog hangs it.
        model_id: of this very model, ``catalog/model``, for what its name does not tell.
    """
    if catalog_category not in _INDOOR:
        return None
    if model_id in _BY_MODEL:
        return _BY_MODEL[model_id]
    category = CATEGORY_OF.get(name)
    depth, width, height = size_m
    # The same name means something else at another size or in another of the catalog's categories.
    if catalog_category == "Office" and name in ("Chair", "Armchair") and min(depth, width) >= _OFFICE_CHAIR_LEAST_M:
        return "office chair"
    if category == "table lamp":
        if elevation_m >= _HANGING_M:
            return None
        return "lamp" if height > _FLOOR_LAMP_LEAST_M else category
    if category == "table" and height < _COFFEE_TABLE_MOST_M:
        return "coffee table"
    if category == "sink" and elevation_m > _HUNG_M:
        # Rooms stand their sinks on the floor, and a basin without a foot is no sink there.
        return None
    return category
