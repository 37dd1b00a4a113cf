# The image holds one static binary and nothing else. Build the binary first, on any Linux with the Rust
# toolchain:
#
#   RUSTFLAGS='-C target-feature=+crt-static' \
#     cargo build --release --target x86_64-unknown-linux-gnu
#   docker build -t conclave .
FROM scratch
COPY target/x86_64-unknown-linux-gnu/release/conclave /conclave
USER 10001:10001
ENTRYPOINT ["/conclave"]
CMD ["start"]
