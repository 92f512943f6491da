"""What ProcTHOR's asset types are in our words, and which models may stand for them.

The table is explicit: a type that is in neither list is an error, so that nothing is labeled by accident.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """Our category, and the furniture library's categories to ask for a model, best first."""

    category: str
    models: tuple[str, ...]


def _same(*categories: str) -> dict[str, Label]:
    return {name: Label(name, (name,)) for name in categories}


_OWN = _same(
    "bed",
    "book",
    "boots",
    "bottle",
    "bowl",
    "bread",
    "candle",
    "cart",
    "clock",
    "cup",
    "desk",
    "fruit",
    "kettle",
    "laptop",
    "microwave",
    "newspaper",
    "ottoman",
    "pan",
    "phone",
    "picture",
    "pillow",
    "plate",
    "safe",
    "sink",
    "sofa",
    "statue",
    "stool",
    "television",
    "toaster",
    "toilet",
    "towel",
    "vase",
)

LABELS: dict[str, Label] = {
    "AlarmClock": _OWN["clock"],
    "Apple": _OWN["fruit"],
    "ArmChair": Label("armchair", ("armchair",)),
    "BaseballBat": Label("baseball bat", ("baseball bat",)),
    "BasketBall": Label("basketball", ("basketball",)),
    "Bed": _OWN["bed"],
    "Book": _OWN["book"],
    "Boots": _OWN["boots"],
    "Bottle": _OWN["bottle"],
    "Bowl": _OWN["bowl"],
    "Box": Label("box", ("crate", "box")),
    "Bread": _OWN["bread"],
    "Candle": _OWN["candle"],
    "Cart": _OWN["cart"],
    "CellPhone": _OWN["phone"],
    "Chair": Label("chair", ("chair",)),
    "Cloth": _OWN["towel"],
    "ClothesDryer": Label("clothes dryer", ("washing machine",)),
    "CoffeeMachine": Label("coffee machine", ("coffee machine",)),
    "CoffeeTable": Label("coffee table", ("coffee table",)),
    "CounterTop": Label("counter", ("counter",)),
    "Cup": _OWN["cup"],
    "Desk": _OWN["desk"],
    "DeskLamp": Label("desk lamp", ("desk lamp", "table lamp")),
    "Desktop": Label("monitor", ("monitor",)),
    "DiningTable": Label("table", ("table", "meeting table")),
    "DogBed": Label("pet bed", ("pet bed",)),
    "Dresser": Label("cabinet", ("cabinet",)),
    "FloorLamp": Label("lamp", ("lamp",)),
    "Footstool": _OWN["ottoman"],
    "Fridge": Label("fridge", ("fridge",)),
    "GarbageBag": Label("garbage bag", ("bag",)),
    "GarbageCan": Label("bin", ("bin",)),
    "HandTowel": _OWN["towel"],
    "HousePlant": Label("plant", ("plant", "potted plant")),
    "Kettle": _OWN["kettle"],
    "Laptop": _OWN["laptop"],
    "LaundryHamper": Label("laundry hamper", ("hamper",)),
    "Lettuce": _OWN["fruit"],
    "Microwave": _OWN["microwave"],
    "Mug": _OWN["cup"],
    "Newspaper": _OWN["newspaper"],
    "Ottoman": _OWN["ottoman"],
    "Painting": _OWN["picture"],
    "Pan": _OWN["pan"],
    "PaperTowelRoll": Label("paper roll", ("paper roll",)),
    "Pillow": _OWN["pillow"],
    "Plate": _OWN["plate"],
    "Pot": _OWN["pan"],
    "Potato": _OWN["fruit"],
    "RemoteControl": Label("remote control", ("remote control",)),
    "RoomDecor": Label("decoration", ("vase", "statue")),
    "Safe": _OWN["safe"],
    "ShelvingUnit": Label("shelf", ("shelf", "bookshelf")),
    "SideTable": Label("side table", ("nightstand", "coffee table", "table")),
    "Sink": _OWN["sink"],
    "SoapBottle": _OWN["bottle"],
    "Sofa": _OWN["sofa"],
    "SprayBottle": _OWN["bottle"],
    "Statue": _OWN["statue"],
    "Stool": _OWN["stool"],
    "TVStand": Label("tv stand", ("tv stand",)),
    "TableTopDecor": _OWN["statue"],
    "TeddyBear": Label("teddy bear", ("teddy bear",)),
    "Television": _OWN["television"],
    "TennisRacket": Label("tennis racket", ("tennis racket",)),
    "TissueBox": Label("tissue box", ("tissue box",)),
    "Toaster": _OWN["toaster"],
    "Toilet": _OWN["toilet"],
    "Tomato": _OWN["fruit"],
    "Towel": _OWN["towel"],
    "VacuumCleaner": Label("vacuum cleaner", ("vacuum cleaner",)),
    "Vase": _OWN["vase"],
    "WashingMachine": Label("washing machine", ("washing machine",)),
    "WateringCan": _OWN["kettle"],
    "WineBottle": _OWN["bottle"],
}

LEFT_OUT: frozenset[str] = frozenset(
    {
        # Too small or thin for any scan to hold them as an object.
        *("AluminumFoil", "ButterKnife", "CD", "CreditCard", "DishSponge", "Egg", "Fork", "KeyChain", "Knife", "Ladle"),
        *("Pen", "Pencil", "PepperShaker", "SaltShaker", "SoapBar", "Spatula", "Spoon", "Watch", "LightSwitch"),
        # Parts of rooms and fittings that no library has.
        *("Blinds", "Doorframe", "Doorway", "Window", "Faucet", "HandTowelHolder", "ShowerCurtain", "ShowerHead"),
        *("TowelHolder", "ToiletPaper", "ToiletPaperHanger", "Plunger", "ScrubBrush", "Dumbbell"),
    }
)

OFFICE_CHAIR = Label("office chair", ("office chair", "chair"))

ROOM_WORDS = {"Kitchen": "kitchen", "Bedroom": "bedroom", "LivingRoom": "living room", "Bathroom": "bathroom"}

CLOSED = frozenset({"Fridge", "Safe", "Dresser", "Desk", "SideTable", "CounterTop", "Cart", "LaundryHamper"})
"""Types inside of which a thing is not seen from outside."""


MOST_HEIGHT_M = {"Bed": 1.05, "Desk": 0.85}
"""Bunks and canopies of beds, and shelves over desks: our models have none, and would be stretched to stilts."""


def label_of(asset_type: str, asset_id: str) -> Label | None:
    """Our label of an asset, or None for what is left out.

    Raises:
        KeyError: the type is unknown.
    """
    if asset_type in LEFT_OUT:
        return None
    if asset_type == "Chair" and "office_chair" in asset_id.lower():
        return OFFICE_CHAIR
    return LABELS[asset_type]
