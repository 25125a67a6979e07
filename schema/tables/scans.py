"""What detectors measured, one row per content, detector and tiling."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from schema.scan import Precision
from schema.tables.base import metadata, one_of, sha256, since_now

# What one detector measured on one content. Arrays are stored as bytes, little-endian, in the shapes of `schema.scan`.
scans = Table(
    "scans",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("content_sha256", Text, nullable=False),
    Column("weights_sha256", Text, nullable=False),
    Column("tiling", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("classes", ARRAY(Text), nullable=False),
    Column("is_demo", Boolean, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", Text, nullable=False),
    Column("tiles_total", Integer, nullable=False),
    Column("tiles_scored", Integer, nullable=False),
    Column("corners", LargeBinary, nullable=False),
    Column("contrast", LargeBinary, nullable=False),
    Column("selected", LargeBinary, nullable=False),
    Column("scored", LargeBinary, nullable=False),
    Column("probabilities", LargeBinary, nullable=False),
    Column("map_png", LargeBinary),
    Column("map_sampled", Boolean, nullable=False, server_default=text("false")),
    since_now("created_at"),
    since_now("updated_at"),
    Column("precision", Text, nullable=False),
    # What was measured of the file and the pixels beside the tiles; null in scans from before they were.
    Column("signals", JSONB),
    # The map's numbers: the borders of its cells in pixels, and per row and column 10,000 times the score, null where
    # nothing was scored.
    Column("map_x_edges", ARRAY(Integer)),
    Column("map_y_edges", ARRAY(Integer)),
    Column("map_scores", ARRAY(SmallInteger)),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("content_sha256", "weights_sha256", "tiling", "precision"),
    CheckConstraint("jsonb_typeof(signals) = 'object'", name="signals"),
    sha256("content_sha256"),
    sha256("weights_sha256"),
    one_of("precision", Precision),
    CheckConstraint("tiling ~ '^[a-z]+-[0-9]+$'", name="tiling"),
    CheckConstraint("width > 0 AND height > 0", name="size"),
    CheckConstraint("cardinality(classes) > 0", name="classes"),
    CheckConstraint("tiles_scored BETWEEN 0 AND tiles_total", name="tiles"),
    CheckConstraint(
        "map_scores IS NULL AND map_x_edges IS NULL AND map_y_edges IS NULL"
        " OR coalesce(array_length(map_scores, 1) = cardinality(map_y_edges) - 1"
        " AND array_length(map_scores, 2) = cardinality(map_x_edges) - 1, false)",
        name="map",
    ),
    # The length of the bytes matches the shape.
    CheckConstraint("octet_length(corners) = 8 * tiles_total", name="corners"),
    CheckConstraint("octet_length(contrast) = 4 * tiles_total", name="contrast"),
    CheckConstraint("octet_length(selected) = tiles_total", name="selected"),
    CheckConstraint("octet_length(scored) = tiles_total", name="scored"),
    CheckConstraint("octet_length(probabilities) = 2 * tiles_total * cardinality(classes)", name="probabilities"),
)
