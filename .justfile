# What one does here; `just` lists it.

_default:
    @just --list

# Start the server on http://127.0.0.1:8080
run *flags:
    cargo run --release -- {{flags}}

# Everything that has to hold before something lands
check:
    .ci/run

# Every test
test *filter:
    tests/run {{filter}}

# Hold the server to its delivery contract while it is broken at random: just soak 30 1
soak minutes='30' seed='1':
    PERSONA_SOAK_MINUTES={{minutes}} PERSONA_SOAK_SEED={{seed}} tests/with-postgres cargo test --locked --test it -- --ignored --exact --nocapture delivery_check::soak

# A thousand jobs over providers that fail at random: just soak-providers 1
soak-providers seed='1':
    PERSONA_SOAK_SEED={{seed}} cargo test --locked --test it -- --ignored --exact --nocapture provider_soak::soak

# Twenty seeds of mishaps on the way to the database: just soak-database 1
soak-database seed='1':
    PERSONA_SOAK_SEED={{seed}} tests/with-postgres cargo test --locked --test it -- --ignored --exact --nocapture mishaps::soak

# Look for bytes that the reader of providers' streams can't take (needs nightly and cargo-fuzz)
fuzz seconds='300':
    cargo +nightly fuzz run provider_stream -- -max_total_time={{seconds}} -max_len=4096

# Put the code into form
fmt:
    cargo fmt

# Advisories, licences and bans of what is built upon (needs cargo-deny)
deny:
    cargo deny check

# The code's documentation, in a browser
doc:
    cargo doc --no-deps --open

# How fast the hub and the acknowledged POST are, on this machine
bench:
    cargo run --release -- bench hub
    cargo run --release -- bench post
    cargo run --release -- bench providers
