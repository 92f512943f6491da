"""Every setting of the core, typed, frozen and validated; unknown keys are refused.

A setting is declared once, with description, unit and range. YAML files, command-line overrides and ROS parameters
are all read through :meth:`Settings.from_mapping`, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self, get_type_hints

import yaml


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range; the message names its full key and value."""


def setting(
    default: Any,
    description: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] = (),
    read_only: bool = False,
) -> Any:
    """Declare one setting; ``read_only`` ones cannot be changed while a node runs."""
    return field(
        default=default,
        metadata={
            "description": description,
            "unit": unit,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
            "read_only": read_only,
        },
    )


@dataclass(frozen=True)
class Settings:
    """Base of all groups of settings; subclasses are frozen dataclasses whose fields use :func:`setting`."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Settings):
                continue
            object.__setattr__(self, item.name, _checked(item, hints[item.name], value))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], prefix: str = "") -> Self:
        """Build from nested mappings; absent keys keep their defaults.

        Raises:
            ConfigError: an unknown key, a wrong type, or a value out of range.
        """
        known = {item.name: item for item in fields(cls)}
        arguments: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(f"{prefix}{key}: unknown setting; known here: {', '.join(sorted(known))}")
            group = _group(known[key])
            if group is None:
                arguments[key] = value
            elif isinstance(value, Mapping):
                arguments[key] = group.from_mapping(value, f"{prefix}{key}.")
            else:
                raise ConfigError(f"{prefix}{key}: expected a group of settings, got {value!r}")
        try:
            return cls(**arguments)
        except ConfigError as error:
            raise ConfigError(f"{prefix}{error}") from None

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """Read a YAML file of nested settings.

        Raises:
            ConfigError: the file is not YAML, not a mapping, or holds a bad setting.
        """
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a YAML file: {error}") from None
        if values is None:
            values = {}
        if not isinstance(values, Mapping):
            raise ConfigError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
        return cls.from_mapping(values)

    def to_mapping(self) -> dict[str, Any]:
        """Nested plain values, as :meth:`from_mapping` reads them."""
        out: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            out[item.name] = value.to_mapping() if isinstance(value, Settings) else value
        return out

    def flat(self, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
        """Yield (dotted name, field, value) of every leaf, groups first to last."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Settings):
                yield from value.flat(f"{prefix}{item.name}.")
            else:
                yield f"{prefix}{item.name}", item, value

    def with_flat(self, changes: Mapping[str, Any]) -> Self:
        """A copy with dotted names replaced; as strict as :meth:`from_mapping`."""
        direct: dict[str, Any] = {}
        nested: dict[str, dict[str, Any]] = {}
        known = {item.name for item in fields(self)}
        for name, value in changes.items():
            head, _, rest = name.partition(".")
            if head not in known:
                raise ConfigError(f"{name}: unknown setting; known here: {', '.join(sorted(known))}")
            if rest:
                nested.setdefault(head, {})[rest] = value
            else:
                direct[head] = value
        for head, rest_changes in nested.items():
            group = getattr(self, head)
            if not isinstance(group, Settings):
                raise ConfigError(f"{head}: is a single setting, not a group")
            try:
                direct[head] = group.with_flat(rest_changes)
            except ConfigError as error:
                raise ConfigError(f"{head}.{error}") from None
        return replace(self, **direct)


def _group(item: Field[Any]) -> type[Settings] | None:
    factory = item.default_factory
    if factory is not MISSING and isinstance(factory, type) and issubclass(factory, Settings):
        return factory
    if item.default is not MISSING and is_dataclass(item.default) and isinstance(item.default, Settings):
        return type(item.default)
    return None


def _checked(item: Field[Any], hint: Any, value: Any) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    expected = hint if isinstance(hint, type) else None
    if expected is not None and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
        raise ConfigError(f"{item.name}: expected {expected.__name__}, got {value!r}")
    low, high = item.metadata.get("minimum"), item.metadata.get("maximum")
    if isinstance(value, float) and value != value:
        raise ConfigError(f"{item.name}: must be a number, got nan")
    unit = item.metadata.get("unit") or ""
    if low is not None and value < low:
        raise ConfigError(f"{item.name}: must be at least {low} {unit}".rstrip() + f", got {value}")
    if high is not None and value > high:
        raise ConfigError(f"{item.name}: must be at most {high} {unit}".rstrip() + f", got {value}")
    choices = item.metadata.get("choices") or ()
    if choices and value not in choices:
        raise ConfigError(f"{item.name}: must be one of {', '.join(map(str, choices))}, got {value!r}")
    return value


@dataclass(frozen=True)
class AccumulationSettings(Settings):
    """How sweeps become a gravity-aligned local cloud, and the cloud a wall slice."""

    window_m: float = setting(4.0, "travel after which older sweeps are forgotten", unit="m", minimum=0.1)
    window_s: float = setting(30.0, "age after which sweeps are forgotten", unit="s", minimum=0.1)
    max_scans: int = setting(60, "most sweeps kept", minimum=1, maximum=1000)
    min_travel_m: float = setting(0.10, "travel before the next sweep is kept", unit="m", minimum=0.0)
    min_turn_rad: float = setting(0.10, "turn before the next sweep is kept", unit="rad", minimum=0.0)
    max_range_m: float = setting(20.0, "returns beyond are dropped", unit="m", minimum=0.5)
    min_range_m: float = setting(0.3, "returns nearer (the robot itself) are dropped", unit="m", minimum=0.0)
    voxel_m: float = setting(0.05, "grid on which the cloud is thinned", unit="m", minimum=0.005)
    floor_below_base_m: float = setting(0.0, "height of base_link above the floor", unit="m", minimum=0.0)
    slice_min_m: float = setting(0.9, "lower edge of the wall slice above the floor", unit="m", minimum=0.0)
    slice_max_m: float = setting(2.2, "upper edge of the wall slice above the floor", unit="m", minimum=0.1)
    slice_voxel_m: float = setting(0.05, "grid on which the wall slice is thinned", unit="m", minimum=0.005)
    continuity_share: float = setting(
        0.75,
        "a sweep with less than this share of its returns where the last one had some starts a new cloud; 0 for never",
        minimum=0.0,
        maximum=1.0,
    )


@dataclass(frozen=True)
class RegistrationSettings(Settings):
    """Floor-plan registration: likelihood field, free-space violation, search and hypotheses."""

    sigma_m: float = setting(0.15, "standard deviation of a wall return from the plan", unit="m", minimum=0.01)
    outlier: float = setting(
        0.05, "share of returns that no wall explains, where the plan is known", minimum=0.001, maximum=0.9
    )
    unknown_likelihood: float = setting(
        0.2, "the same where the plan is blank, in units of a return on a wall", minimum=0.001, maximum=0.9
    )
    violation_weight: float = setting(1.5, "penalty for rays that pass through walls of the plan", minimum=0.0)
    angular_step_deg: float = setting(3.0, "heading step of the global search", unit="deg", minimum=0.1, maximum=30.0)
    linear_step_m: float = setting(0.1, "position step of the global search", unit="m", minimum=0.02)
    pyramid_height: int = setting(3, "halvings between the search's widest window and one step", minimum=0, maximum=8)
    search_margin: float = setting(
        0.3, "hypotheses worse than the best by more than this may be missed", unit="nat", minimum=0.0
    )
    min_score: float = setting(
        -1.8, "mean log-likelihood a return below which a pose is no hypothesis", unit="nat", maximum=0.0
    )
    starts: int = setting(4, "fine alignments started for each hypothesis kept", minimum=1)
    max_points: int = setting(180, "returns matched", minimum=8)
    max_rays: int = setting(60, "rays tested for free-space violation", minimum=1)
    max_radius_m: float = setting(20.0, "returns farther from the robot are left out", unit="m", minimum=1.0)
    free_margin_m: float = setting(
        0.3, "a robot may stand this far outside the plan's free space, where the plan is blank", unit="m", minimum=0.0
    )
    independent_returns: float = setting(
        30.0, "returns that one slice counts for in the covariance, whatever its size", minimum=1.0
    )
    max_hypotheses: int = setting(16, "hypotheses kept after non-maximum suppression", minimum=1)
    suppression_m: float = setting(
        1.0, "hypotheses nearer than this to a better one are dropped", unit="m", minimum=0.0
    )
    suppression_deg: float = setting(
        30.0, "... unless their heading differs by more than this", unit="deg", minimum=0.0
    )
    min_points: int = setting(30, "fewer returns than this are insufficient structure", minimum=3)


@dataclass(frozen=True)
class RetrievalSettings(Settings):
    """Scene retrieval: which modalities are searched and how scores become place probabilities."""

    top_k: int = setting(10, "places returned per query", minimum=1)
    temperature: float = setting(
        0.08, "cosine difference that multiplies a place's odds by e, for clouds and text", minimum=1e-3
    )
    image_temperature: float = setting(
        0.14, "the same for images; both fitted on rooms of the validation split", minimum=1e-3
    )
    late_interaction: bool = setting(
        True, "score the best places by attributes and layouts too, where map and query have them"
    )
    late_temperature: float = setting(
        1.0,
        "score difference of late interaction that multiplies a place's odds by e, for clouds and text",
        unit="nat",
        minimum=1e-3,
    )
    late_image_temperature: float = setting(1.0, "the same for images", unit="nat", minimum=1e-3)
    uncalibrated_weight: float = setting(
        0.3, "weight in the belief of retrieval by an encoder without fitted likelihoods", minimum=0.0, maximum=1.0
    )
    max_abstain_probability: float = setting(
        0.35, "retrieval abstains when its best place is less probable than this", minimum=0.0, maximum=1.0
    )


@dataclass(frozen=True)
class BeliefSettings(Settings):
    """Recursive belief over (building, level, place, pose), and the states it reports."""

    update_travel_m: float = setting(0.25, "travel between two updates by geometry", unit="m", minimum=0.0)
    update_turn_rad: float = setting(0.35, "turn between two updates by geometry", unit="rad", minimum=0.0)
    evidence_returns: float = setting(
        10.0, "independent returns that one wall slice counts for, whatever its size", minimum=1.0
    )
    independence_m: float = setting(1.5, "travel after which a slice is wholly new evidence", unit="m", minimum=0.1)
    score_deadband: float = setting(
        0.08,
        "difference of scores that unmapped furniture alone causes, and that is no evidence between poses",
        unit="nat",
        minimum=0.0,
    )
    null_probability: float = setting(
        0.2, "prior probability that the robot is nowhere in the map", minimum=0.0, maximum=0.99
    )
    null_score: float = setting(
        -0.9, "mean log-likelihood a return at which a pose is no better than none", unit="nat", maximum=0.0
    )
    birth_share: float = setting(
        0.5, "share of the null hypothesis' probability that new hypotheses may take", minimum=0.01, maximum=1.0
    )
    # crossover calibrate: 0.064 for looks by clouds, 0.001 for looks by images, 0.017 for both.
    retrieval_outliers: float = setting(
        0.05, "share of places at which retrieval goes wrong, whatever its scores", minimum=1e-4, maximum=1.0
    )
    retrieval_travel_m: float = setting(0.25, "travel between two retrievals that count", unit="m", minimum=0.0)
    retrieval_turn_rad: float = setting(0.35, "turn between two retrievals that count", unit="rad", minimum=0.0)
    continuity_share: float = setting(
        0.75,
        "a wall slice with less than this share of its returns where the last one had some tells of being carried; "
        "0 for never",
        minimum=0.0,
        maximum=1.0,
    )
    continuity_score: float = setting(
        -0.9,
        "a change of surroundings tells nothing where the announced pose, aligned, explains them by a mean "
        "log-likelihood a return above this",
        unit="nat",
        maximum=0.0,
    )
    carried_probability: float = setting(
        0.95,
        "probability that the robot was carried elsewhere when its surroundings change at once",
        minimum=0.0,
        maximum=0.99,
    )
    search_travel_m: float = setting(
        1.0, "travel between two global searches while not localized", unit="m", minimum=0.0
    )
    # Between the levels at which 95 and 99 % of poses were right on validation drives (0.909 and 0.972), and above the
    # most that a wrong one was given there (0.67): crossover calibrate, facts of weights/edge.likelihood.json.
    localized_probability: float = setting(0.92, "probability at which a pose is announced", minimum=0.5, maximum=1.0)
    lost_probability: float = setting(
        0.5, "probability below which an announced pose is withdrawn", minimum=0.0, maximum=1.0
    )
    odometry_translation: float = setting(0.05, "odometry noise after 1 m", unit="m", minimum=0.0)
    odometry_rotation: float = setting(0.05, "odometry heading noise after turning 1 rad", unit="rad", minimum=0.0)
    odometry_drift_rad: float = setting(0.02, "odometry heading noise after 1 m", unit="rad", minimum=0.0)
    correlation: float = setting(
        2.0, "factor on a registration's covariance for slices that share returns", minimum=1.0
    )
    merge_m: float = setting(0.5, "hypotheses nearer than this are one", unit="m", minimum=0.0)
    merge_rad: float = setting(0.3, "... if their headings differ by less than this", unit="rad", minimum=0.0)
    max_hypotheses: int = setting(48, "hypotheses kept", minimum=1)
    stale_s: float = setting(3.0, "age of the newest sensor data at which the result is stale", unit="s", minimum=0.1)


@dataclass(frozen=True)
class LocalizerSettings(Settings):
    """Everything between an embedding and a result."""

    building: str = setting("", "building to search; empty for all", read_only=True)
    level: str = setting("", "level to search; empty for all")
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    belief: BeliefSettings = field(default_factory=BeliefSettings)


@dataclass(frozen=True)
class EncoderSettings(Settings):
    """The encoders and what is fed to them."""

    checkpoint: str = setting("", "safetensors file or directory; empty for the shipped one", read_only=True)
    device: str = setting("auto", "where the encoders run", choices=("auto", "cpu", "cuda"), read_only=True)
    accumulation: AccumulationSettings = field(default_factory=AccumulationSettings)
