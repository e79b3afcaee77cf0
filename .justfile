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

# Put the code into form
fmt:
    cargo fmt

# Licences and bans of what is built upon (needs cargo-deny)
deny:
    cargo deny check licenses bans sources

# The code's documentation, in a browser
doc:
    cargo doc --no-deps --open

# How fast the hub and the acknowledged POST are, on this machine
bench:
    cargo run --release -- bench hub
    cargo run --release -- bench post
