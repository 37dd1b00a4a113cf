//! What introspection of new tokens is measured against: one core that checks `EdDSA` tokens and does nothing else.
//!
//!     eddsa FILE KEY      FILE holds a token a line, KEY the public key as a key set has it; prints tokens a second

use std::error::Error;
use std::time::Instant;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let tokens = std::fs::read_to_string(arguments.next().ok_or("no file")?)?;
    let key = DecodingKey::from_ed_components(&arguments.next().ok_or("no key")?)?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_aud = false;
    let start = Instant::now();
    let mut count = 0_u32;
    for token in tokens.lines() {
        decode::<Value>(token, &key, &validation)?;
        count += 1;
    }
    println!("{:.1}", f64::from(count) / start.elapsed().as_secs_f64());
    Ok(())
}
