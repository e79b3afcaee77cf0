//! The tables, as diesel knows them; `migrations/sqlite` makes them.

diesel::table! {
    message (channel, id) {
        channel -> Text,
        id -> Binary,
        user_id -> Nullable<Text>,
        user_name -> Nullable<Text>,
        content -> Text,
        client_id -> Nullable<Text>,
        provider -> Nullable<Text>,
        stream_id -> Nullable<Binary>,
        reply_to -> Nullable<Binary>,
        finish_reason -> Nullable<Text>,
        created_at -> BigInt,
        persona_id -> Nullable<Text>,
        persona_name -> Nullable<Text>,
    }
}

diesel::table! {
    outbox (id) {
        id -> Binary,
        event -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    idempotency (user_id, key) {
        user_id -> Text,
        key -> Text,
        fingerprint -> Binary,
        response -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    job (id) {
        id -> Binary,
        kind -> Text,
        user_id -> Text,
        state -> Integer,
        priority -> Integer,
        turn -> BigInt,
        run_at -> BigInt,
        attempt -> Integer,
        tries -> Integer,
        failures -> Integer,
        crashes -> Integer,
        worker -> Nullable<Binary>,
        provider -> Nullable<Text>,
        unique_key -> Nullable<Text>,
        cancel_asked -> Bool,
        work -> Text,
        progress -> Nullable<Integer>,
        note -> Nullable<Text>,
        error -> Nullable<Text>,
        errors -> Text,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        waits_since -> Nullable<BigInt>,
    }
}

diesel::table! {
    job_done (id) {
        id -> Binary,
        kind -> Text,
        user_id -> Text,
        state -> Integer,
        attempt -> Integer,
        work -> Text,
        progress -> Nullable<Integer>,
        result -> Nullable<Text>,
        error -> Nullable<Text>,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        finished_at -> BigInt,
        priority -> Integer,
        unique_key -> Nullable<Text>,
        fence -> Integer,
        errors -> Text,
    }
}

diesel::table! {
    worker (id) {
        id -> Binary,
        lease_until -> BigInt,
    }
}

diesel::table! {
    queue_limit (scope, name) {
        scope -> Text,
        name -> Text,
        most -> Nullable<Integer>,
        paused -> Bool,
    }
}

diesel::table! {
    tick (name, at) {
        name -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    persona (id) {
        id -> Text,
        channel -> Text,
        name -> Text,
        prompt -> Text,
        answers -> Text,
        route -> Text,
        parameters -> Text,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(message, outbox);
diesel::allow_tables_to_appear_in_same_query!(job, worker);
