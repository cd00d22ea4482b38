-- The trail's archive on ClickHouse. `ecluse audit load` makes these tables when they are missing and fills them.
-- On a cluster put `on cluster '{cluster}'` after each name and ReplicatedMergeTree in place of MergeTree.
-- Each row came from one Parquet file of the archive; the journal and its signatures stay the evidence.

create table if not exists trail_events (
    "writer" LowCardinality(String),
    "at" String,
    "at_ms" Int64 codec(Delta, ZSTD),
    "seq" Int64 codec(Delta, ZSTD),
    "kind" LowCardinality(String),
    "reason" LowCardinality(Nullable(String)),
    "control" LowCardinality(Nullable(String)),
    "realm" LowCardinality(Nullable(String)),
    "account" Nullable(String),
    "account_class" LowCardinality(Nullable(String)),
    "establishment" Nullable(String),
    "operator" Nullable(String),
    "app" LowCardinality(Nullable(String)),
    "route" LowCardinality(Nullable(String)),
    "route_kind" LowCardinality(Nullable(String)),
    "method" LowCardinality(Nullable(String)),
    "status" Nullable(Int64),
    "opened" Nullable(Bool),
    "rows" Nullable(Int64),
    "bytes" Nullable(Int64),
    "patients" Array(String) codec(ZSTD),
    "categories" Array(String) codec(ZSTD),
    "sensitivity" LowCardinality(Nullable(String)),
    "client" Nullable(String),
    "client_port" Nullable(Int64),
    "session" Nullable(String),
    "request_id" Nullable(String) codec(ZSTD),
    "reference" Nullable(String),
    "rule" Nullable(String),
    "policy_id" LowCardinality(Nullable(String)),
    "detail" Map(String, String)
)
engine = MergeTree
partition by toYYYYMM(fromUnixTimestamp64Milli("at_ms", 'UTC'))
order by ("account", "at_ms", "writer", "seq")
settings allow_nullable_key = 1;

create table if not exists trail_accesses (
    "patient" String codec(ZSTD),
    "at_ms" Int64 codec(Delta, ZSTD),
    "writer" LowCardinality(String),
    "seq" Int64 codec(Delta, ZSTD),
    "kind" LowCardinality(String),
    "realm" LowCardinality(Nullable(String)),
    "account" Nullable(String),
    "account_class" LowCardinality(Nullable(String)),
    "establishment" Nullable(String),
    "operator" Nullable(String),
    "app" LowCardinality(Nullable(String)),
    "route" LowCardinality(Nullable(String)),
    "route_kind" LowCardinality(Nullable(String)),
    "opened" Nullable(Bool),
    "rows" Nullable(Int64),
    "bytes" Nullable(Int64),
    "status" Nullable(Int64),
    "reason" LowCardinality(Nullable(String)),
    "categories" Array(String) codec(ZSTD),
    "sensitivity" LowCardinality(Nullable(String)),
    "client" Nullable(String),
    "session" Nullable(String),
    "request_id" Nullable(String) codec(ZSTD)
)
engine = MergeTree
partition by toYYYYMM(fromUnixTimestamp64Milli("at_ms", 'UTC'))
order by ("patient", "at_ms", "writer", "seq");

-- Up to which seq, excluded, each writer's events are in the two tables. Rows beyond are those of a load under way.
create table if not exists trail_loaded (
    "writer" String,
    "seq" Int64
)
engine = MergeTree
order by ("writer", "seq");
