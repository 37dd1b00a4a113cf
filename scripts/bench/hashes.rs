//! What sign-ins are measured against: the bare password pool with the parameters of a node, kept busy for
//! five seconds. Prints hashes a second.

use std::time::{Duration, Instant};

use conclave::auth::hasher::{Hasher, HasherConfig};
use conclave::auth::password::Password;

const SPAN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = HasherConfig::default();
    let hasher = Hasher::start(config)?;
    let phc = hasher.hash(Password::parse("SecurePass123".to_owned())?).await?;
    let start = Instant::now();
    let workers = (0..16).map(|_| {
        let (hasher, phc) = (hasher.clone(), phc.clone());
        tokio::spawn(async move {
            let mut done = 0_u32;
            while start.elapsed() < SPAN {
                let password = Password::parse("SecurePass123".to_owned()).ok()?;
                hasher.verify(password, &phc).await.ok()?;
                done += 1;
            }
            Some(done)
        })
    });
    let mut done = 0;
    for worker in workers.collect::<Vec<_>>() {
        done += worker.await?.ok_or("a hash failed")?;
    }
    println!("{:.1}", f64::from(done) / start.elapsed().as_secs_f64());
    Ok(())
}
