//! The dashboard of a farm that never was, to look at: `cargo run --release -p farm --example dashboard`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example may stop at what it did not expect"
)]

#[path = "../tests/common/fixture.rs"]
mod fixture;

use farm::dashboard::{Access, Dashboard, router, serve};
use reports::history::History;

fn main() {
    let place = tempfile::tempdir().unwrap();
    let report = std::env::args()
        .nth(1)
        .map_or(b"<title>no report was named</title>".to_vec(), |path| std::fs::read(path).unwrap());
    let farm = fixture::make(place.path(), &report);
    println!(
        "{} nights in {}, run {}, series {}",
        farm.names.len(),
        farm.nights.display(),
        farm.run,
        farm.moved.id()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        println!("http://{at}/");
        let dashboard = Dashboard::new(&farm.nights, Some(History::folder(&farm.history)));
        let app = router(dashboard, Access::new(at, None).unwrap());
        let stop = async { tokio::signal::ctrl_c().await.unwrap() };
        serve(listener, app, stop).await;
    });
}
