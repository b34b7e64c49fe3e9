-- Tables of audit.duckdb, the results of every run (format 5).
--
-- Every table has its run_id; config hash, code version and seed of a run are in `runs`.
-- A result is one scenario (kind = 'scenario') or window (kind = 'window') under one model:
-- (run_id, kind, scenario, model) is its key here and in the tables that hang from it.
-- model is null where no model is named, so keys are not declared PRIMARY KEY; the one writer keeps
-- them unique by deleting a result before it is written again.
-- `pos` keeps the order of the report. Values are nats unless their name says otherwise.
--
-- For example, what was lost most:
--   SELECT scenario, model, emid, low, high FROM results JOIN intervals USING (run_id, kind, scenario, model)
--   WHERE measure = 'emid' ORDER BY emid DESC;

CREATE TABLE store_format (version INTEGER NOT NULL, written_by VARCHAR NOT NULL);

CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    job VARCHAR NOT NULL,
    created VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    config_hash VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    schema_version INTEGER NOT NULL,
    interval_level DOUBLE NOT NULL,
    config JSON NOT NULL,
    versions JSON NOT NULL,
    encoders JSON NOT NULL,
    models JSON NOT NULL,
    critic VARCHAR,
    grader JSON,
    id_scenario VARCHAR,
    "groups" VARCHAR,
    thresholds JSON NOT NULL,
    complete BOOLEAN NOT NULL,
    executor VARCHAR,
    seconds JSON NOT NULL,
    status VARCHAR NOT NULL,
    because VARCHAR NOT NULL
);

CREATE TABLE results (
    run_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    scenario VARCHAR NOT NULL,
    model VARCHAR,
    pos INTEGER NOT NULL,
    family VARCHAR,
    n BIGINT NOT NULL,
    "groups" BIGINT,
    effective_n DOUBLE,
    n_labelled BIGINT NOT NULL,
    n_emi BIGINT,
    mi_model DOUBLE,
    mi_reference DOUBLE,
    emi DOUBLE,
    emi_spread DOUBLE,
    emid DOUBLE,
    emid_spread DOUBLE,
    reliable BOOLEAN,
    delta DOUBLE,
    accuracy DOUBLE,
    win_rate DOUBLE,
    variation JSON,
    census JSON,
    quarantined BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    because VARCHAR NOT NULL,
    "start" VARCHAR,
    "end" VARCHAR
);

-- What is missing or spoilt: of a result, or (kind = 'run') of the whole feed. `about` is what kind of thing it is.
CREATE TABLE findings (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR, model VARCHAR, pos INTEGER NOT NULL,
    place VARCHAR NOT NULL, about VARCHAR NOT NULL, status VARCHAR NOT NULL, because VARCHAR NOT NULL
);

-- measure: emi, emid, accuracy
CREATE TABLE intervals (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    measure VARCHAR NOT NULL, low DOUBLE NOT NULL, high DOUBLE NOT NULL
);

CREATE TABLE bounds (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    pos INTEGER NOT NULL, form VARCHAR NOT NULL, value DOUBLE, terms VARCHAR[] NOT NULL, complete BOOLEAN NOT NULL,
    entropy DOUBLE, entropy_source VARCHAR, low DOUBLE, high DOUBLE
);

-- modality: image, text, joint, response; text_given_image, response_given_input, reference_given_input
CREATE TABLE divergences (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    pos INTEGER NOT NULL, modality VARCHAR NOT NULL, value DOUBLE, excess DOUBLE, null_mean DOUBLE, null_std DOUBLE,
    corrected DOUBLE, low DOUBLE, high DOUBLE, mmd2 DOUBLE, score DOUBLE, p_value DOUBLE, p_adjusted DOUBLE,
    n_id BIGINT, n BIGINT, paired BOOLEAN NOT NULL, n_copies BIGINT NOT NULL
);

CREATE TABLE label_free (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    voice VARCHAR, estimate DOUBLE, low DOUBLE, high DOUBLE, outside DOUBLE, overlap DOUBLE, moved DOUBLE,
    effective DOUBLE, auc DOUBLE, reason VARCHAR
);

CREATE TABLE credibility (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    value DOUBLE NOT NULL, null_mean DOUBLE NOT NULL, null_std DOUBLE NOT NULL, p_value DOUBLE NOT NULL,
    n BIGINT NOT NULL, groups BIGINT NOT NULL
);

CREATE TABLE emi_forms (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    reference_trained DOUBLE, cross_fitted DOUBLE, style_free DOUBLE, cosine DOUBLE
);

CREATE TABLE style (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    length DOUBLE, echo DOUBLE, refusal DOUBLE, marginal DOUBLE
);

CREATE TABLE descriptors (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR NOT NULL, model VARCHAR,
    pos INTEGER NOT NULL, name VARCHAR NOT NULL, value DOUBLE
);

-- What could not be computed (path of the null term) and why. kind = 'run': of the run as a whole.
CREATE TABLE missing (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR, model VARCHAR,
    pos INTEGER NOT NULL, path VARCHAR NOT NULL, reason VARCHAR NOT NULL
);

CREATE TABLE notes (
    run_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, scenario VARCHAR, model VARCHAR,
    pos INTEGER NOT NULL, note VARCHAR NOT NULL
);

CREATE TABLE quarantine (run_id VARCHAR NOT NULL, pos INTEGER NOT NULL, reason VARCHAR NOT NULL, count BIGINT NOT NULL);

-- The tables of the report by name, a JSON object a row; a table without rows has one entry with a null row.
CREATE TABLE tables (run_id VARCHAR NOT NULL, name VARCHAR NOT NULL, pos INTEGER NOT NULL, "row" JSON);

CREATE TABLE correlations (
    run_id VARCHAR NOT NULL, pos INTEGER NOT NULL, x VARCHAR NOT NULL, y VARCHAR NOT NULL, model VARCHAR,
    kind VARCHAR NOT NULL, value DOUBLE, n BIGINT NOT NULL, ceiling DOUBLE
);

-- Records shown in the HTML report. responses: JSON object, model -> text; thumbnail: PNG.
CREATE TABLE examples (
    run_id VARCHAR NOT NULL, pos INTEGER NOT NULL, scenario VARCHAR NOT NULL, record_id VARCHAR NOT NULL,
    query VARCHAR, reference VARCHAR, responses JSON NOT NULL, thumbnail BLOB
);
