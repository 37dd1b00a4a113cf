//! What sign-ins are measured against: the bare password pool with the parameters of a node.
//!
//!     hashes SECONDS CALLERS      prints hashes a second, and the milliseconds of one as its caller sees it

use std::error::Error;
use std::time::{Duration, Instant};

use conclave::auth::hasher::{Hasher, HasherConfig};
use conclave::auth::password::Password;

const PASSWORD: &str = "KettleOnShelf9";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let span = Duration::from_secs_f64(arguments.next().ok_or("no seconds")?.parse()?);
    let callers: u32 = arguments.next().ok_or("no callers")?.parse()?;
    let hasher = Hasher::start(HasherConfig::default())?;
    let phc = hasher.hash(Password::parse(PASSWORD.to_owned())?).await?;
    let start = Instant::now();
    let workers = (0..callers).map(|_| {
        let (hasher, phc) = (hasher.clone(), phc.clone());
        tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < span {
                let begun = Instant::now();
                let password = Password::parse(PASSWORD.to_owned()).ok()?;
                hasher.verify(password, &phc).await.ok()?;
                times.push(begun.elapsed());
            }
            Some(times)
        })
    });
    let mut times = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        times.extend(worker.await?.ok_or("a hash failed")?);
    }
    let took = start.elapsed().as_secs_f64();
    times.sort();
    let median = times.get(times.len() / 2).ok_or("no hash in time")?;
    println!("{:.2} {:.3}", f64::from(u32::try_from(times.len())?) / took, median.as_secs_f64() * 1e3);
    Ok(())
}
